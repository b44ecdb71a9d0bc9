/** The keys of the config with their files read, each proved usable, so that a start cannot fail later for a key. */
import { readFileSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { importVerifyKey, type KeySetting } from '../auth/keys.ts';
import { isTree, type Path } from './document.ts';
import type { KeyEntry } from './schema.ts';

export interface KeyFault {
  readonly path: Path;
  readonly value: string;
  readonly expected: string;
  readonly fix?: string;
}

const MATERIALS = ['secret', 'secretFile', 'jwk', 'publicKeyFile'] as const;

export type FileText =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly code: string };

/** @param path relative ones are taken from `base`, the folder of the config file. */
export function readSetting(path: string, base: string): FileText {
  try {
    return { ok: true, text: readFileSync(isAbsolute(path) ? path : resolve(base, path), 'utf8') };
  } catch (error) {
    return { ok: false, code: error instanceof Error && 'code' in error ? String(error.code) : 'unreadable' };
  }
}

export function readKeys(
  entries: readonly KeyEntry[],
  base: string,
): { keys: KeySetting[]; faults: KeyFault[] } {
  const keys: KeySetting[] = [];
  const faults: KeyFault[] = [];
  entries.forEach((entry, at) => {
    const path = ['auth', 'keys', at];
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

function readKey(entry: KeyEntry, base: string): KeySetting | KeyFault {
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
    value: '(not shown)',
    expected: `a key for ${setting.alg}: ${imported.reason}`,
    ...fix,
  };
}

function withMaterial(entry: KeyEntry, base: string): KeySetting | KeyFault {
  const { kid, alg } = entry;
  if (entry.secret !== undefined) return { kid, alg, secret: entry.secret };
  if (entry.jwk !== undefined) return { kid, alg, jwk: entry.jwk };
  const name = entry.secretFile === undefined ? 'publicKeyFile' : 'secretFile';
  const file = entry[name] ?? '';
  const read = readSetting(file, base);
  if (!read.ok)
    return { path: [name], value: JSON.stringify(file), expected: `a readable file (${read.code})` };
  // Editors and `echo` end a file with a newline that is no part of the secret.
  if (name === 'secretFile') return { kid, alg, secret: read.text.replace(/\r?\n$/, '') };
  return publicKeyFrom(read.text, { kid, alg }, file);
}

function publicKeyFrom(
  text: string,
  key: Pick<KeySetting, 'kid' | 'alg'>,
  file: string,
): KeySetting | KeyFault {
  if (!text.trimStart().startsWith('{')) return { ...key, pem: text };
  try {
    const jwk: unknown = JSON.parse(text);
    if (isTree(jwk)) return { ...key, jwk };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { path: ['publicKeyFile'], value: JSON.stringify(file), expected: 'a public key, PEM or JWK' };
}
