/** `carillon drain`: asks a broker to send its clients away, and tells how far it is. */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { DrainProgress } from '../broker/drain/drain.ts';
import { parseDuration } from '../config/units.ts';
import { type Asked, askAdmin } from './ask.ts';
import { type Usage, usage } from './serve.ts';

export const DRAIN_HELP = `carillon drain: send the clients of a broker away, each in a slot of its own

  carillon drain [--admin URL] [--admin-token TOKEN] [--wait] [--deadline 60s]

  --admin URL          the admin listener of a broker (else that of the settings, or http://127.0.0.1:9090)
  --admin-token TOKEN  its admin token (else CARILLON_ADMIN_TOKEN, or that of the settings)
  --admin-token-file FILE  a file that holds it
  --config FILE        the settings of the broker on this machine (else CARILLON_CONFIG)
  --node NAME          that node alone, be it here or elsewhere; "all": the whole installation
                       (else all workers of the broker that is asked)
  --reason TEXT        what clients are told
  --deadline 60s       all are gone by then (else drain.deadlineMs of the broker)
  --after 5s           wait before it begins: until balancers know that this one is going
  --wait               tell the progress until nobody is left; not with --node all

The broker goes on running, without clients; it takes new ones after a restart. SIGTERM drains in the same way, and ends it.
Exit codes: 0 asked for, or with --wait done; 1 refused, or not done in time; 64 wrong usage.
`;

export interface DrainFlags {
  readonly admin?: string | undefined;
  readonly config?: string | undefined;
  readonly adminToken?: string | undefined;
  readonly adminTokenFile?: string | undefined;
  readonly node?: string | undefined;
  readonly reason?: string | undefined;
  readonly deadlineMs?: number | undefined;
  readonly afterMs: number;
  readonly wait: boolean;
}

/** The broker that is asked. */
export interface DrainTarget {
  readonly admin: string;
  readonly token: string | undefined;
}

const TEXTS = [
  'admin',
  'admin-token',
  'admin-token-file',
  'config',
  'node',
  'reason',
  'deadline',
  'after',
] as const;

export function drainFlags(args: readonly string[]): Usage<DrainFlags> {
  const texts = Object.fromEntries(TEXTS.map((name) => [name, { type: 'string' as const }]));
  const options = { ...texts, wait: { type: 'boolean' as const } };
  const read = usage(() => parseArgs({ args: [...args], options }));
  if (!read.ok) return read;
  const { wait = false, ...values } = read.flags.values;
  const given = values as Readonly<Record<(typeof TEXTS)[number], string | undefined>>;
  const { admin, config, node, reason, deadline, after = '0s' } = given;
  if (admin !== undefined && !URL.canParse(admin))
    return { ok: false, reason: '--admin is not a URL such as http://127.0.0.1:9090' };
  if (wait && node === 'all') return { ok: false, reason: '--wait is for one node' };
  const afterMs = parseDuration(after, 1);
  const deadlineMs = deadline === undefined ? undefined : parseDuration(deadline, 1);
  if (afterMs === undefined || (deadline !== undefined && deadlineMs === undefined))
    return { ok: false, reason: '--deadline and --after are durations such as 60s' };
  const token = { adminToken: given['admin-token'], adminTokenFile: given['admin-token-file'] };
  return {
    ok: true,
    flags: { ...token, admin, config, node, reason, deadlineMs, afterMs, wait: wait === true },
  };
}

export type DrainResult = { readonly ok: true } | { readonly ok: false; readonly reason: string };

const LOOK_MS = 500;
const LOOK_TRIES = 10;
/** What a broker may take beyond its deadline to say that it is done. */
const SLACK_MS = 5000;

/**
 * @param targetOf asked when the waiting is over: what fails must not end it, or balancers would still send clients
 * @param tell takes the lines for people
 */
export async function runDrain(
  flags: DrainFlags,
  targetOf: () => Promise<DrainTarget>,
  tell: (line: string) => void,
): Promise<DrainResult> {
  const { node, reason, deadlineMs } = flags;
  await sleep(flags.afterMs);
  const target = await targetOf();
  const body = {
    ...(node !== undefined && { node }),
    ...(reason !== undefined && { reason }),
    ...(deadlineMs !== undefined && { deadlineMs }),
  };
  const begun = await askAdmin(target.admin, '/admin/v1/drain', body, target.token, 'draining');
  if (!begun.ok) return begun;
  const { draining, missing } = begun.answer as { draining: readonly string[]; missing: readonly string[] };
  if (missing.length > 0) return { ok: false, reason: `${missing.join(', ')} did not answer` };
  tell(`draining: ${draining.join(', ')}`);
  return flags.wait ? waitFor(target, node, tell) : { ok: true };
}

interface Look extends DrainProgress {
  readonly missing: readonly string[];
}

async function waitFor(
  target: DrainTarget,
  node: string | undefined,
  tell: (line: string) => void,
): Promise<DrainResult> {
  for (let told = ''; ; await sleep(LOOK_MS)) {
    const looked = await look(target, node);
    // The process has ended, as after a signal: nobody can be left.
    if (!looked.ok) return looked.silent ? { ok: true } : looked;
    const progress = looked.answer as unknown as Look;
    const line = showProgress(progress);
    if (line !== told) tell(line);
    told = line;
    if (progress.state === 'drained' && progress.missing.length === 0) return { ok: true };
    if (progress.elapsedMs > progress.deadlineMs + SLACK_MS)
      return { ok: false, reason: `the deadline has passed, and ${progress.left} are left` };
  }
}

/** Not given up at once: a supervisor whose workers have all ended cannot answer, and ends as well in a moment. */
async function look({ admin, token }: DrainTarget, node: string | undefined): Promise<Asked> {
  const path = `/admin/v1/drain${node === undefined ? '' : `?node=${encodeURIComponent(node)}`}`;
  for (let tries = 1; ; tries++) {
    const asked = await askAdmin(admin, path, undefined, token, 'state');
    if (asked.ok || !asked.busy || tries === LOOK_TRIES) return asked;
    await sleep(LOOK_MS);
  }
}

export function showProgress(progress: DrainProgress): string {
  const { state, left, total, perSecond, limit, limitedBy, survivors, elapsedMs, deadlineMs } = progress;
  const time = `${Math.round(elapsedMs / 1000)} s of ${Math.round(deadlineMs / 1000)} s`;
  if (state === 'drained') return `done: ${total - left} of ${total} sent away, ${time}`;
  const pace = `${perSecond.toFixed(perSecond < 10 ? 1 : 0)}/s to ${survivors} nodes`;
  const by = limitedBy === undefined ? limit : `${limit} of ${limitedBy}`;
  return `${left} of ${total} left, ${pace}, limit: ${by}, ${time}`;
}
