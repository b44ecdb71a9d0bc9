/** The secrets and keys of the config with their files read, each proved usable: a start cannot fail later for one. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { importVerifyKey, type KeySetting } from '../auth/keys.ts';
import { isTree, type Path } from './document.ts';
import type { KeyEntry } from './identity-schema.ts';
import { VISIBLE } from './leaves.ts';
import type { Settings } from './schema.ts';

/** What is wrong with one setting, by its path. */
export interface Fault {
  readonly path: Path;
  readonly value: string;
  readonly expected: string;
  readonly fix?: string;
}

/** In the place of a value that is, or may be, a secret. */
export const HIDDEN = '(not shown)';

const MATERIALS = ['secret', 'secretFile', 'jwk', 'publicKeyFile'] as const;

export type FileText =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly code: string };

/** @param path relative ones are taken from `base`, the folder of the config file. */
export function readSetting(path: string, base: string): FileText {
  try {
    return { ok: true, text: readFileSync(resolve(base, path), 'utf8') };
  } catch (error) {
    return { ok: false, code: error instanceof Error && 'code' in error ? String(error.code) : 'unreadable' };
  }
}

/** @param section the path of the list. */
export function readKeys(
  entries: readonly KeyEntry[],
  base: string,
  section: Path,
): { keys: KeySetting[]; faults: Fault[] } {
  const keys: KeySetting[] = [];
  const faults: Fault[] = [];
  entries.forEach((entry, at) => {
    const path = [...section, at];
    const read = readKey(entry, base);
    if ('expected' in read) faults.push({ ...read, path: [...path, ...read.path] });
    else if (keys.some((key) => key.kid === read.kid))
      faults.push({
        path: [...path, 'kid'],
        value: JSON.stringify(read.kid),
        expected: 'a kid of its own for each key',
      });
    else keys.push(read);
  });
  return { keys, faults };
}

function readKey(entry: KeyEntry, base: string): KeySetting | Fault {
  const given = MATERIALS.filter((name) => entry[name] !== undefined);
  if (given.length !== 1) {
    return {
      path: [],
      value: given.join(' and ') || '(nothing)',
      expected: `exactly one of ${MATERIALS.join(', ')}`,
    };
  }
  const name = given[0] ?? 'secret';
  const setting = withMaterial(entry, base);
  if ('expected' in setting) return setting;
  const imported = importVerifyKey(setting);
  if (imported.ok) return setting;
  const fix = setting.alg === 'HS256' ? { fix: 'make one with: openssl rand -base64 48' } : {};
  return {
    path: [name],
    value: HIDDEN,
    expected: `a key for ${setting.alg}: ${imported.reason}`,
    ...fix,
  };
}

function withMaterial(entry: KeyEntry, base: string): KeySetting | Fault {
  const { kid, alg } = entry;
  if (entry.secret !== undefined) return { kid, alg, secret: entry.secret };
  if (entry.jwk !== undefined) return { kid, alg, jwk: entry.jwk };
  const name = entry.secretFile === undefined ? 'publicKeyFile' : 'secretFile';
  const file = entry[name] ?? '';
  const read = readSetting(file, base);
  if (!read.ok)
    return { path: [name], value: shownPath(name, file), expected: `a readable file (${read.code})` };
  // Editors and `echo` end a file with a newline that is no part of the secret.
  if (name === 'secretFile') return { kid, alg, secret: withoutNewline(read.text) };
  return publicKeyFrom(read.text, { kid, alg }, file);
}

/** Not where people put the secret itself by mistake. */
function shownPath(name: string, file: string): string {
  return name === 'publicKeyFile' ? JSON.stringify(file) : HIDDEN;
}

function publicKeyFrom(text: string, key: Pick<KeySetting, 'kid' | 'alg'>, file: string): KeySetting | Fault {
  if (!text.trimStart().startsWith('{')) return { ...key, pem: text };
  try {
    const jwk: unknown = JSON.parse(text);
    if (isTree(jwk)) return { ...key, jwk };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { path: ['publicKeyFile'], value: JSON.stringify(file), expected: 'a public key, PEM or JWK' };
}

/** Editors and `echo` end a file with a newline that is no part of the secret. */
function withoutNewline(text: string): string {
  return text.replace(/\r?\n$/, '');
}

/** The admin token, from its file where one is named. */
export function readAdminToken(
  { token, tokenFile }: Settings['admin'],
  base: string,
): { token?: string } | Fault {
  const read = readSecret({ text: token, file: tokenFile }, base, ['admin', 'token']);
  if (typeof read === 'object') return read;
  return read === undefined ? {} : { token: read };
}

/** A secret that stands in the settings at `path`, or in the file named by the key of the same name and `File`. */
export function readSecret(
  given: { readonly text: string | undefined; readonly file: string | undefined },
  base: string,
  path: readonly [...string[], string],
): string | undefined | Fault {
  if (given.file === undefined) return given.text;
  const name = path.at(-1);
  const fault = (expected: string): Fault => ({
    path: [...path.slice(0, -1), `${name}File`],
    value: HIDDEN,
    expected,
  });
  if (given.text !== undefined) return fault(`one of ${name} and ${name}File`);
  const read = readSetting(given.file, base);
  if (!read.ok) return fault(`a readable file (${read.code})`);
  const text = withoutNewline(read.text);
  return VISIBLE.test(text) ? text : fault('a file with one line of visible ASCII characters');
}
