/** `carillon explain message`: what became of one message for one user. */
import { parseArgs } from 'node:util';
import type { FateQuestion } from '../broker/fate/fates.ts';
import type { Explained, Verdict } from '../broker/fate/verdict.ts';
import { askAdmin } from './ask.ts';
import { type Usage, usage } from './serve.ts';

export const EXPLAIN_MESSAGE_HELP = `carillon explain message: what became of one message for one user, on all brokers

  carillon explain message --room ROOM --user USER --seq N [--epoch EPOCH] --admin URL [--admin-token TOKEN]
  carillon explain message --room ROOM --user USER --msg-id ID --admin URL [--admin-token TOKEN]

  --room ROOM          where it was published
  --user USER          who should have got it
  --seq N              its position, as the event and the ack have it; in a live room positions are a node's own
  --epoch EPOCH        of the position, where it may not be the present one
  --msg-id ID          instead of --seq: the msgId that its publisher gave it
  --tenant TENANT      default: default
  --admin URL          any broker of the installation, such as http://127.0.0.1:9090
  --admin-token TOKEN  its admin token (else CARILLON_ADMIN_TOKEN)
  --json               print the answer as JSON

Exit codes: 0 given to the user's socket or seen, 2 not, 1 nobody could say, 64 wrong usage.
`;

export interface MessageFlags {
  readonly question: FateQuestion;
  readonly admin: string;
  readonly adminToken?: string;
  readonly json: boolean;
}

const FLAGS = ['room', 'user', 'seq', 'epoch', 'msg-id', 'tenant', 'admin', 'admin-token'] as const;
type Values = Readonly<Record<(typeof FLAGS)[number], string | undefined>>;

export function messageFlags(args: readonly string[]): Usage<MessageFlags> {
  const texts = Object.fromEntries(FLAGS.map((name) => [name, { type: 'string' as const }]));
  const read = usage(() =>
    parseArgs({ args: [...args], options: { ...texts, json: { type: 'boolean' as const } } }),
  );
  if (!read.ok) return read;
  const { json, ...values } = read.flags.values;
  const {
    room,
    user,
    seq,
    epoch,
    'msg-id': msgId,
    tenant = 'default',
    admin,
    'admin-token': adminToken,
  } = values as Values;
  if (room === undefined || user === undefined) return { ok: false, reason: '--room and --user are needed' };
  if (admin === undefined || !URL.canParse(admin))
    return { ok: false, reason: '--admin is not a URL such as http://127.0.0.1:9090' };
  const message = whichOf(seq, epoch, msgId);
  if (typeof message === 'string') return { ok: false, reason: message };
  const question = { tenant, room, user, ...message };
  return { ok: true, flags: { question, admin, json: json === true, ...(adminToken && { adminToken }) } };
}

type Text = string | undefined;

/** A text says what is wrong. */
function whichOf(
  seq: Text,
  epoch: Text,
  msgId: Text,
): Pick<FateQuestion, 'seq' | 'epoch' | 'msgId'> | string {
  if ((seq === undefined) === (msgId === undefined)) return 'one of --seq and --msg-id is needed';
  if (seq === undefined) return { msgId };
  if (!/^[1-9]\d{0,15}$/.test(seq)) return '--seq is not a position';
  return { seq: Number(seq), ...(epoch !== undefined && { epoch }) };
}

export type MessageResult =
  | { readonly ok: true; readonly explained: Omit<Explained, 'ok'> }
  | { readonly ok: false; readonly reason: string };

export async function askFate({ question, admin, adminToken }: MessageFlags): Promise<MessageResult> {
  const query = new URLSearchParams(Object.entries(question).map(([name, value]) => [name, String(value)]));
  const asked = await askAdmin(admin, `/admin/v1/explain?${query}`, undefined, adminToken, 'verdict');
  return asked.ok ? { ok: true, explained: asked.answer as unknown as Explained } : asked;
}

/** Exit codes beside 0. */
const NOT_GIVEN = 2;
const NOBODY_KNOWS = 1;
const GIVEN: readonly Verdict[] = ['seen', 'handed', 'replayed', 'own'];

export function exitOf(verdict: Verdict): number {
  if (verdict === 'unknown') return NOBODY_KNOWS;
  return GIVEN.includes(verdict) ? 0 : NOT_GIVEN;
}

type Session = Explained['sessions'][number];

const time = (ms: number | undefined) =>
  ms === undefined ? 'at a time not kept' : `at ${new Date(ms).toISOString()}`;
const why = ({ code }: Session) => (code === undefined ? '' : ` (${code})`);

const SAYS: Readonly<Record<Session['fate'], (session: Session) => string>> = {
  handed: (one) => `handed to its socket ${time(one.at)}`,
  replayed: (one) =>
    one.at === undefined
      ? `handed to its socket by a catch-up that began ${time(one.since)} and goes on`
      : `handed to its socket by a catch-up, ${time(one.since)} or later, ${time(one.at)} at the latest`,
  own: (one) => `its own, published with echo: false; the others got it ${time(one.at)}`,
  pending: () => 'not yet: it waits here, or the client reads slowly; a catch-up or a gap follows',
  gap: (one) =>
    `told as missing ${time(one.at)}: gap ${one.from}..${one.to}, ${one.reason}, went on with ${one.action}`,
  cut_off: (one) => `not handed over: it was behind when it left the room ${time(one.at)}${why(one)}`,
  missed: () => 'not handed over: ephemeral, and it was behind at that moment',
  left: (one) => `it had left the room before, ${time(one.at)}${why(one)}`,
  before_join: (one) =>
    one.resumed === true
      ? `it came ${time(one.joinedAt)} with a position beyond it: by its own word it had it`
      : `it joined after it, ${time(one.joinedAt)}`,
  other_epoch: () => 'it was in the room under another epoch, whose positions mean nothing here',
  not_joined: (one) =>
    one.code === undefined
      ? 'it was not in the room'
      : `it was not in the room: its join was refused ${time(one.at)} (${one.code})`,
  unknown: () => 'its notes of that time are not kept any more',
};

const REACHED: readonly Session['fate'][] = ['handed', 'replayed'];

function afterwards({ fate, closed, unsent }: Session): string {
  if (!REACHED.includes(fate)) return '';
  if (closed === undefined)
    return unsent === 0 ? '; the kernel has taken it' : `; ${unsent} bytes wait in the socket`;
  const waited =
    unsent === undefined ? 'what the kernel had not taken is unknown' : `${unsent} bytes were unsent`;
  return `; closed ${time(closed.at)} with ${closed.code}: ${waited}`;
}

export function showFate({
  verdict,
  message,
  seen,
  sessions,
  refused,
  nodes,
  missing,
}: Omit<Explained, 'ok'>): string {
  const lines: string[] = [verdict];
  if (message !== undefined)
    lines.push(
      `  message ${message.seq} of ${message.epoch}, accepted ${time(message.ts)}, from ${message.from}`,
    );
  if (seen !== undefined) lines.push(`  the user has seen up to ${seen.seq} of ${seen.epoch}`);
  for (const { node, user, code, at } of refused)
    lines.push(`  refused ${time(at)} on ${node}: ${code}${user === undefined ? '' : `, from ${user}`}`);
  for (const one of sessions)
    lines.push(`  session ${one.session} on ${one.node}: ${SAYS[one.fate](one)}${afterwards(one)}`);
  // Of a message that there never was no session has anything to say.
  if (sessions.length === 0 && refused.length === 0)
    lines.push(`  no session of the user is known since ${latest(nodes)}`);
  for (const node of missing) lines.push(`  ${node} has not answered`);
  return `${lines.join('\n')}\n`;
}

function latest(nodes: Explained['nodes']): string {
  return new Date(Math.max(0, ...nodes.map(({ since }) => since))).toISOString();
}
