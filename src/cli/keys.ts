/** `carillon keys`: makes and rotates the keys that an installation signs its own tokens with. */
import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  isSecretSet,
  makeKey,
  parseRing,
  pruned,
  publicText,
  type RingKey,
  ringText,
  rotated,
  stateOf,
} from '../auth/keyring.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm } from '../auth/keys.ts';
import { parseDuration } from '../config/units.ts';
import { usage } from './serve.ts';

export const KEYS_HELP = `carillon keys: make and rotate the keys that tokens are signed with

  carillon keys make    [--alg EdDSA]                 a first key, which signs at once
  carillon keys list                                  the keys and what each does now
  carillon keys rotate  [--lead 15m] [--overlap 25h]  a next key; it signs after the lead, the others end
  carillon keys prune   [--kid=KID]                   take out keys that have ended, or one that has leaked

  --file FILE        the private keys, for "carillon token --key FILE"; default carillon-keys.json (mode 0600)
  --public FILE      what brokers get as auth.jwksFile, or an HTTP server for auth.jwksUrl; default
                     carillon-jwks.json. With HS256 it holds the secret, so it is no file for an HTTP server.
  --alg ALG          EdDSA (default), ES256, RS256 or HS256; rotate: default that of the newest key
  --lead DURATION    how long verifiers have to learn a key before it signs: more than auth.jwks.refreshMs
  --overlap DURATION how long tokens of the key before are good: more than the longest --ttl
  --kid=KID          prune: this key, whatever its age; its tokens end with it

The kid of a key is its thumbprint (RFC 7638). A broker reads auth.jwksFile again when it changes: no restart.

Examples
  carillon keys make
  carillon token --key carillon-keys.json --sub alice
  carillon keys rotate --lead 15m --overlap 25h   and a day later: carillon keys prune
`;

export type KeysResult =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly kind: 'usage' | 'failed'; readonly reason: string };

const FLAGS = ['file', 'public', 'alg', 'lead', 'overlap', 'kid'] as const;
type Flags = Readonly<Record<(typeof FLAGS)[number], string | undefined>>;

interface Job {
  readonly file: string;
  readonly publicFile: string;
  readonly flags: Flags;
  /** Seconds since 1970. */
  readonly now: number;
}

type Action = (job: Job) => Promise<KeysResult> | KeysResult;

const ACTIONS: ReadonlyMap<string, Action> = new Map<string, Action>([
  ['make', make],
  ['list', list],
  ['rotate', rotate],
  ['prune', prune],
]);

/** @param now milliseconds since 1970. */
export async function runKeys([action = '', ...args]: readonly string[], now: number): Promise<KeysResult> {
  if (args.includes('--help') || args.includes('-h') || /^(--help|-h|help)$/.test(action))
    return { ok: true, text: KEYS_HELP };
  const run = ACTIONS.get(action);
  if (run === undefined) return wrong(`there is no action ${action || '(none)'} on keys`);
  const options = Object.fromEntries(FLAGS.map((name) => [name, { type: 'string' as const }]));
  const read = usage(() => parseArgs({ args: [...args], options }));
  if (!read.ok) return wrong(read.reason);
  const flags = read.flags.values as Flags;
  const { file = 'carillon-keys.json', public: publicFile = 'carillon-jwks.json' } = flags;
  return run({ file, publicFile, flags, now: Math.floor(now / 1000) });
}

function wrong(reason: string): KeysResult {
  return { ok: false, kind: 'usage', reason };
}

function failed(reason: string): KeysResult {
  return { ok: false, kind: 'failed', reason };
}

async function make(job: Job): Promise<KeysResult> {
  const alg = algorithmOf(job.flags.alg ?? 'EdDSA');
  if (alg === undefined) return wrong(`--alg is none of ${KEY_ALGORITHMS.join(', ')}`);
  const text = textOf(job.file);
  if (text.code !== 'ENOENT')
    return failed(`${job.file} is there already: "carillon keys rotate" adds a key to it`);
  return written(job, [await makeKey(alg, job.now, job.now)]);
}

function list(job: Job): KeysResult {
  const ring = ringOf(job.file);
  return 'keys' in ring ? { ok: true, text: table(ring.keys, job.now) } : ring;
}

async function rotate(job: Job): Promise<KeysResult> {
  const ring = ringOf(job.file);
  if (!('keys' in ring)) return ring;
  const { lead = '15m', overlap = '25h', alg: named } = job.flags;
  const [leadMs, overlapMs] = [parseDuration(lead, 1000), parseDuration(overlap, 1000)];
  if (leadMs === undefined || overlapMs === undefined)
    return wrong('--lead and --overlap are durations such as 15m or 25h');
  const waiting = ring.keys.find((key) => key.nbf > job.now);
  if (waiting !== undefined)
    return failed(`${waiting.kid} is the next key already; it signs from ${instant(waiting.nbf)}`);
  const alg = algorithmOf(named ?? ring.keys[0]?.alg ?? 'EdDSA');
  if (alg === undefined) return wrong(`--alg is none of ${KEY_ALGORITHMS.join(', ')}`);
  const next = await makeKey(alg, job.now, job.now + Math.ceil(leadMs / 1000));
  return written(job, rotated(ring.keys, next, Math.ceil(overlapMs / 1000)));
}

function prune(job: Job): KeysResult {
  const ring = ringOf(job.file);
  if (!('keys' in ring)) return ring;
  const { kid } = job.flags;
  const left = pruned(ring.keys, job.now, kid);
  if (kid !== undefined && left.length === ring.keys.length) return failed(`${job.file} has no key ${kid}`);
  if (left.length === 0) return failed('no key would be left: rotate first, with --lead 0s if it is urgent');
  return written(job, left);
}

function algorithmOf(name: string): KeyAlgorithm | undefined {
  return KEY_ALGORITHMS.find((alg) => alg === name);
}

function ringOf(file: string): { readonly keys: readonly RingKey[] } | Extract<KeysResult, { ok: false }> {
  const { text, code } = textOf(file);
  const refuse = (reason: string) => ({ ok: false, kind: 'failed', reason: `${file} ${reason}` }) as const;
  if (text === undefined)
    return refuse(`cannot be read (${code})${code === 'ENOENT' ? ': carillon keys make' : ''}`);
  const ring = parseRing(text);
  return ring.ok ? ring : refuse(ring.reason);
}

function textOf(file: string): { readonly text?: string; readonly code?: string } {
  try {
    return { text: readFileSync(file, 'utf8') };
  } catch (error) {
    return { code: codeOf(error) };
  }
}

/** The private file first: a key that signs and is not published can still be published, the other way round not. */
function written(job: Job, keys: readonly RingKey[]): KeysResult {
  const secret = isSecretSet(keys);
  try {
    replaceFile(job.file, ringText(keys), 0o600);
    replaceFile(job.publicFile, publicText(keys), secret ? 0o600 : 0o644);
  } catch (error) {
    return failed(`the keys cannot be written (${codeOf(error)})`);
  }
  const warning = secret ? `${job.publicFile} holds an HS256 secret: keep it as one.\n` : '';
  return { ok: true, text: table(keys, job.now) + warning };
}

/** Whole or not at all, and never readable by others on its way. */
function replaceFile(file: string, text: string, mode: number): void {
  const draft = `${file}.${randomBytes(6).toString('hex')}`;
  writeFileSync(draft, text, { mode, flag: 'wx' });
  renameSync(draft, file);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'failed';
}

function table(keys: readonly RingKey[], now: number): string {
  const rows = keys.map((key) => {
    const ends = key.exp === undefined ? '' : `, ends ${instant(key.exp)}`;
    const begins = key.nbf > now ? `, signs from ${instant(key.nbf)}` : '';
    return `${key.kid}  ${key.alg.padEnd(5)}  ${stateOf(key, keys, now).padEnd(9)}  made ${instant(key.iat)}${begins}${ends}\n`;
  });
  return rows.join('');
}

function instant(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000', '');
}
