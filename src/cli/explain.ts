/** `carillon explain access`: what a client with a token may do, and the rule that says so. */
import { parseArgs } from 'node:util';
import { createVerifier } from '../auth/verifier.ts';
import { type DryRunQuestion, dryRun, type Explanation } from '../broker/access/dry-run.ts';
import { Gate, type GateParts } from '../broker/exclusion/gate.ts';
import { IdentityCounts } from '../broker/identity-counts.ts';
import { Policies } from '../broker/limits/policy.ts';
import { ACTIONS, type Log } from '../broker/ports.ts';
import { lifeOf } from '../config/token-life.ts';
import type { Config } from '../config.ts';
import { askAdmin } from './ask.ts';
import { type Usage, usage } from './serve.ts';

export const EXPLAIN_HELP = `carillon explain access: what a client with this token would be answered, and the rule that decides

  carillon explain access --token TOKEN --action ACTION --room ROOM [--config FILE]
  carillon explain access --token TOKEN --action ACTION --room ROOM --admin URL [--admin-token TOKEN]

  --token TOKEN        the client's token; "-" reads it from standard input, where nobody else sees it
  --action ACTION      join, pub, presence or history
  --room ROOM          the name of a room
  --config FILE        decide here, by these settings (else CARILLON_CONFIG, else defaults and environment)
  --admin URL          ask a broker, such as http://127.0.0.1:9090: it knows policies changed at run time
  --admin-token TOKEN  its admin token (else CARILLON_ADMIN_TOKEN)
  --json               print the answer as JSON

Exit codes: 0 allowed, 2 not allowed, 1 nobody could say, 64 wrong usage, 78 no good settings.
`;

const FLAGS = ['token', 'action', 'room', 'config', 'admin', 'admin-token'] as const;

export interface ExplainFlags {
  readonly question: DryRunQuestion;
  readonly config?: string;
  /** Ask there. */
  readonly admin?: string;
  readonly adminToken?: string;
  readonly json: boolean;
}

export function explainFlags(args: readonly string[]): Usage<ExplainFlags> {
  const texts = Object.fromEntries(FLAGS.map((name) => [name, { type: 'string' as const }]));
  const options = { ...texts, json: { type: 'boolean' as const } };
  const read = usage(() => parseArgs({ args: [...args], options }));
  if (!read.ok) return read;
  const { json, ...values } = read.flags.values;
  const { token, action: name, room, config, admin, 'admin-token': adminToken } = values as Values;
  const action = ACTIONS.find((each) => each === name);
  if (token === undefined || room === undefined)
    return { ok: false, reason: '--token and --room are needed' };
  if (action === undefined) return { ok: false, reason: `--action is none of ${ACTIONS.join(', ')}` };
  if (admin !== undefined && !URL.canParse(admin))
    return { ok: false, reason: '--admin is not a URL such as http://127.0.0.1:9090' };
  const given = { ...(config && { config }), ...(admin && { admin }), ...(adminToken && { adminToken }) };
  return { ok: true, flags: { question: { token, action, room }, json: json === true, ...given } };
}

type Values = Readonly<Record<(typeof FLAGS)[number], string | undefined>>;

export type ExplainResult =
  | { readonly ok: true; readonly explanation: Explanation }
  | { readonly ok: false; readonly reason: string };

/** By the settings alone; keys behind a URL are fetched, a webhook is asked. @param now milliseconds since 1970. */
export async function explainOffline(
  { question }: ExplainFlags,
  config: Config,
  now: () => number,
): Promise<ExplainResult> {
  if (config.development)
    return {
      ok: false,
      reason: 'no key is configured, so that no token can be checked: set auth.keys, or ask --admin',
    };
  const around = { clock: { now }, log: SILENT, counts: new IdentityCounts() };
  const verifier = createVerifier(config.auth, around);
  try {
    await verifier.start();
    const policies = new Policies(config.tenants.default, config.tenants.named);
    const { rooms, auth } = config;
    const gate = new Gate({
      ...NOBODY_EXCLUDED,
      verifier,
      policies,
      life: lifeOf(config),
      clock: around.clock,
    });
    const parts = { gate, policies, rooms, defaultRooms: auth.defaultRooms };
    return { ok: true, explanation: await dryRun(parts, question) };
  } finally {
    verifier.close();
  }
}

/** Bans and revocations are known to brokers alone. */
const NOBODY_EXCLUDED: Pick<GateParts, 'exclusions' | 'openTicket'> = {
  exclusions: { of: () => undefined, ofIdentity: () => undefined, ofAddress: () => undefined },
  openTicket: () => ({ ok: false, code: 'unauthorized', reason: 'tickets are not opened here' }),
};

const quiet = (): void => undefined;
const SILENT: Log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

/** @param admin the URL of an admin listener. */
export async function explainOnline(
  { question, adminToken }: ExplainFlags,
  admin: string,
): Promise<ExplainResult> {
  const asked = await askAdmin(admin, '/admin/v1/explain-access', question, adminToken, 'decision');
  return asked.ok ? { ok: true, explanation: asked.answer as unknown as Explanation } : asked;
}

export function showExplanation(explanation: Explanation, { action, room }: DryRunQuestion): string {
  const { decision, code, reason, user, tenant, unfilled = [] } = explanation;
  const who = user === undefined ? '' : ` for ${JSON.stringify(user)} of tenant ${tenant}`;
  const lines = [
    `${decision}: "${action}" in ${JSON.stringify(room)}${who}${code === undefined ? '' : ` (${code})`}`,
    `  ${reason}`,
    ...unfilled.map(
      ({ list, index, match, claims }) =>
        `  entry ${index} of ${list}, ${match}, matches nothing: ${claims.join(', ')} is missing or cannot stand in a name`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}
