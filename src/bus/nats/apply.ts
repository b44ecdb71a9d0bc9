import type { Log } from '../../broker/ports.ts';
import type { LifecycleSettings, Limits, RoomPolicy, StateLimits } from '../../broker/settings.ts';
import type { UsageSettings } from '../../broker/usage.ts';
import { stateStream } from './cluster/stream.ts';
import { dial } from './connection.ts';
import { environment } from './env.ts';
import { lifecycleStream } from './lifecycle/stream.ts';
import type { NatsOptions } from './options.ts';
import {
  type ApplyOptions,
  type ApplyReport,
  retentionOf,
  roomStreams,
  type StreamPlan,
  Streams,
  withoutHistory,
} from './streams.ts';
import { Subjects } from './subject.ts';
import { commandTimers } from './timers.ts';
import { usageStream } from './usage/stream.ts';

export interface ApplyParts {
  readonly options: NatsOptions;
  readonly policies: readonly RoomPolicy[];
  readonly limits: Pick<Limits, 'payloadBytes' | 'dedupeWindowMs'>;
  readonly state: StateLimits;
  readonly usage: UsageSettings;
  /** Absent: no record of sessions is kept. */
  readonly lifecycle?: LifecycleSettings;
  readonly log: Log;
}

/**
 * `carillon streams apply`: makes the streams as wide as the settings ask for, creating and updating them; narrower
 * only where `how` says so. Needs `applyPermissions`. Throws with the reason when it cannot.
 */
export async function applyStreams(parts: ApplyParts, how: ApplyOptions = {}): Promise<ApplyReport> {
  const { options, log } = parts;
  const env = environment({ now: Date.now }, log, commandTimers);
  const inbox = new Subjects(options.prefix, options.shards).inbox('streams-apply');
  const connection = await dial('carillon streams apply', inbox, options, env);
  try {
    const cannot = withoutHistory(connection);
    if (cannot !== undefined) throw new Error(`NATS cannot keep history: ${cannot}`);
    return await new Streams(connection, options, streamsOf(parts)).apply(how);
  } finally {
    await connection.close();
  }
}

/** All streams that the settings ask for. */
export function streamsOf({ options, policies, limits, state, usage, lifecycle }: ApplyParts): StreamPlan {
  const retention = retentionOf(policies, limits);
  const shards = retention === undefined ? () => [] : roomStreams(options, retention);
  return (replicas) => [
    ...shards(replicas),
    stateStream(replicas, options, state),
    usageStream(replicas, options, usage),
    ...(lifecycle?.enabled ? [lifecycleStream(replicas, options, lifecycle)] : []),
  ];
}
