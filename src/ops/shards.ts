import type { Bus, ShardHealth } from '../broker/ports.ts';
import type { Instruments } from './instruments.ts';

/** Of each stream of durable rooms: what it has not answered. */
export function describeShards(instruments: Instruments, bus: Pick<Bus, 'health'>): void {
  const each = (read: (shard: ShardHealth) => number) => () =>
    Object.fromEntries((bus.health().shards ?? []).map((shard, number) => [number, read(shard)]));
  instruments.gauges(
    'bus_shard_unanswered',
    'Publishes that a stream has not answered: sent, or waiting for those sent.',
    'shard',
    each(({ unanswered }) => unanswered),
  );
  instruments.gauges(
    'bus_shard_lag_seconds',
    'How long the oldest publish has been waiting to be sent to a stream; 0: none waits.',
    'shard',
    each(({ lagMs }) => lagMs / 1000),
    'max',
  );
}
