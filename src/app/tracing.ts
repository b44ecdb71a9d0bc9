import type { Log } from '../broker/ports.ts';
import type { Tracing } from '../broker/tracing.ts';
import type { Config } from '../config.ts';
import type { SpanCounts } from '../ops/spans.ts';
import { nowMs } from './time.ts';

export interface TracesOfNode {
  readonly tracing: Tracing;
  readonly counts: SpanCounts;
  close(): Promise<void>;
}

/** undefined: the settings ask for no tracing, and none of its code is loaded. */
export async function createTracing(
  { tracing: settings, node }: Config,
  serverId: string,
  log: Log,
): Promise<TracesOfNode | undefined> {
  if (settings === undefined) return undefined;
  const { OtlpTracing } = await import('../ops/tracing.ts');
  const counts: SpanCounts = { ended: 0, exported: 0, failed: 0, limited: 0 };
  const { version } = node;
  const tracing = new OtlpTracing({ settings, serverId, version, log, counts, nowMs, random: Math.random });
  return { tracing, counts, close: () => tracing.close() };
}
