import { askAll } from '../admin/node.ts';
import type { Cluster } from '../cluster.ts';
import type { Fault } from '../ports.ts';
import type { FateQuestion, Fates, Found, NodeFate, SessionFate } from './fates.ts';
import { FATES } from './infer.ts';

/**
 * In one word, over all sessions and nodes: the best that became of the message for the user, `seen` by the user's own
 * cursor before all; refused: it never was one; no_such_message: the room has none of the position; not_connected: the
 * user had no session; unknown: what is kept does not say.
 */
export const VERDICTS = ['seen', ...FATES, 'refused', 'no_such_message', 'not_connected'] as const;
export type Verdict = (typeof VERDICTS)[number];

export interface Explained {
  readonly ok: true;
  readonly verdict: Verdict;
  /** As the history has it; absent: it is not kept there. */
  readonly message?: Found;
  /** Up to where the user says to have seen the room. */
  readonly seen?: { readonly epoch: string; readonly seq: number };
  readonly nodes: readonly Omit<NodeFate, 'sessions' | 'refused'>[];
  readonly sessions: readonly (SessionFate & { readonly node: string })[];
  readonly refused: readonly (NodeFate['refused'][number] & { readonly node: string })[];
  /** Nodes that have not answered: what happened there is not in the verdict. */
  readonly missing: readonly string[];
}

/** Asks all nodes what became of one message for one user. */
export async function explainMessage(
  cluster: Cluster,
  fates: Fates,
  question: FateQuestion,
): Promise<Explained | Fault> {
  const ref = fates.ref(question.tenant, question.room);
  if ('ok' in ref) return ref;
  const found = await fates.find(ref, question);
  if (typeof found === 'object' && 'ok' in found) return found;
  const message = typeof found === 'string' ? undefined : found;
  const asked = message === undefined ? question : { ...question, ...placeOf(message) };
  const [{ answers, missing }, seen] = await Promise.all([
    askAll(cluster, 'admin.message-fate', asked),
    fates.seen(ref, question.user),
  ]);
  const explained = {
    ...(message && { message }),
    ...(seen && { seen }),
    nodes: answers.map(({ sessions: _, refused: __, ...rest }) => rest),
    sessions: answers.flatMap(({ node, sessions }) => sessions.map((session) => ({ node, ...session }))),
    refused: answers.flatMap(({ node, refused }) => refused.map((refusal) => ({ node, ...refusal }))),
    missing,
  };
  return { ok: true, verdict: verdictOf(explained, asked, found === 'none'), ...explained };
}

function placeOf({ seq, epoch, ts }: Found): Pick<FateQuestion, 'seq' | 'epoch' | 'ts'> {
  return { seq, epoch, ts };
}

type Evidence = Omit<Explained, 'ok' | 'verdict'>;

function verdictOf(evidence: Evidence, question: FateQuestion, never: boolean): Verdict {
  const { message, seen, nodes, sessions, refused } = evidence;
  const passed = nodes.find((node) => node.passed !== undefined)?.passed;
  if (message === undefined && passed === undefined) {
    if (refused.length > 0) return 'refused';
    if (never) return 'no_such_message';
  }
  if (seen !== undefined && seen.epoch === message?.epoch && seen.seq >= message.seq) return 'seen';
  const best = FATES.find((fate) => sessions.some((session) => session.fate === fate));
  return best ?? unattended(evidence, question.ts ?? passed?.ts);
}

/** No session is known: whether there was none. */
function unattended({ nodes, missing }: Evidence, at: number | undefined): Verdict {
  const known = at !== undefined && missing.length === 0 && nodes.every(({ since }) => since <= at);
  return known ? 'not_connected' : 'unknown';
}
