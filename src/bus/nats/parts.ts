import type { NatsConnection } from '@nats-io/nats-core';
import type { Clock, Log } from '../../broker/ports.ts';
import type { Limits, RoomPolicy } from '../../broker/settings.ts';
import type { Env } from './env.ts';
import type { NatsOptions } from './options.ts';
import type { Outlet } from './outlet.ts';
import type { Retention, WiderStreams } from './streams.ts';
import type { Subjects } from './subject.ts';
import type { Timers } from './timers.ts';

export interface NatsBusParts {
  readonly options: NatsOptions;
  readonly policies: readonly RoomPolicy[];
  readonly limits: Pick<
    Limits,
    'payloadBytes' | 'historyTotalBytes' | 'dedupeWindowMs' | 'rooms' | 'cursors'
  >;
  /** Names this process among all that ever were: a new one at each start. */
  readonly node: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly timers?: Timers;
  /** Milliseconds, never going back. */
  readonly ticks?: () => number;
  readonly random?: () => number;
}

export interface DurableParts extends Pick<NatsBusParts, 'options' | 'limits' | 'node'> {
  readonly env: Env;
  /** Carries the subscriptions, the publishes and what is asked of leaders. */
  readonly connection: NatsConnection;
  readonly outlet: Outlet;
  readonly retention: Retention;
  readonly wider: WiderStreams;
  readonly subjects: Subjects;
  readonly connected: () => boolean;
}
