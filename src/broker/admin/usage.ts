/** What tenants have used, up to this moment and on all nodes. */
import type { Cancel, Cluster } from '../cluster.ts';
import type { Report, Step, UsageBook, UsageQuery } from '../usage.ts';

const FLUSH = 'usage.flush';
/** How long a node may take to store what it has counted before it is named as missing. */
const PATIENCE_MS = 3000;

export function answerUsage(cluster: Cluster, book: UsageBook): Cancel {
  return cluster.answer(FLUSH, () => book.flush());
}

export interface UsageReport {
  readonly report: Report;
  /** Nodes whose last moments may be missing in it. */
  readonly missing: readonly string[];
}

export async function readUsage(
  cluster: Cluster,
  book: UsageBook,
  query: UsageQuery,
  step: Step,
): Promise<UsageReport> {
  const { answers, missing } = await cluster.ask(FLUSH, {}, PATIENCE_MS);
  const behind = [...answers].flatMap(([node, flushed]) => (flushed === true ? [] : [node]));
  return { report: await book.report(query, step), missing: [...missing, ...behind] };
}
