import { randomBytes } from 'node:crypto';
import type { Clock, Log } from '../../../src/broker/ports.ts';
import type { RoomPolicy } from '../../../src/broker/settings.ts';
import { NatsBus } from '../../../src/bus/nats/bus.ts';
import { type NatsOptions, natsOptions } from '../../../src/bus/nats/options.ts';
import { durable } from '../rooms.ts';

const MIB = 1024 * 1024;

export interface BusSetup {
  readonly options?: Partial<NatsOptions>;
  readonly policies?: readonly RoomPolicy[];
  readonly clock?: Clock;
  readonly log?: Log;
  readonly historyTotalBytes?: number;
  readonly payloadBytes?: number;
  readonly rooms?: number;
  readonly cursors?: number;
}

/** A prefix that no other test has: streams and subjects of its own on a shared server. */
export function newPrefix(): string {
  return `t${randomBytes(5).toString('hex')}`;
}

/** A node's bus, not started; with few small streams, so that a test starts fast. */
export function natsBus(servers: readonly string[], setup: BusSetup = {}): NatsBus {
  return new NatsBus({
    options: natsOptions({ servers, shards: 2, streamBytes: 32 * MIB, cursorBytes: MIB, ...setup.options }),
    policies: setup.policies ?? [durable()],
    limits: {
      payloadBytes: setup.payloadBytes ?? 65_536,
      historyTotalBytes: setup.historyTotalBytes ?? 64 * MIB,
      dedupeWindowMs: 60_000,
      rooms: setup.rooms ?? 100_000,
      cursors: setup.cursors ?? 10_000,
    },
    node: `n${randomBytes(4).toString('hex')}`,
    clock: setup.clock ?? { now: Date.now },
    log: setup.log ?? VOICE,
  });
}

/** Set `NATS_TEST_LOG` to hear what the buses of a test have to say. */
const heard = process.env['NATS_TEST_LOG'] !== undefined;
const say = (level: string) => (fields: object, message: string) => {
  if (heard) console.error(new Date().toISOString().slice(17, 23), level, message, fields);
};
export const VOICE: Log = { debug: say('debug'), info: say('info'), warn: say('warn'), error: complain };

/** The bus goes on when a sink or an answer throws; a test must not. */
function complain(fields: object, message: string): void {
  say('error')(fields, message);
  const { err } = fields as { err?: unknown };
  if (message.endsWith('has thrown') && err instanceof Error)
    setImmediate(() => {
      throw err;
    });
}
