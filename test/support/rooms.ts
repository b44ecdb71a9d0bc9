import type { RoomRef } from '../../src/broker/ports.ts';
import type { HistoryPolicy, RoomPolicy } from '../../src/broker/settings.ts';

const everything = (): boolean => true;

/** A durable policy; what is not given is wide enough not to matter. */
export function durable(history: Partial<HistoryPolicy> = {}): RoomPolicy {
  return {
    match: '**',
    matches: everything,
    history: { count: 1000, bytes: 16 * 1024 * 1024, ageMs: 600_000, ...history },
    overflow: 'backfill',
  };
}

export const LIVE: RoomPolicy = { match: '**', matches: everything, overflow: 'backfill' };

export function roomRef(name: string, policy: RoomPolicy = durable(), tenant = 'default'): RoomRef {
  return { key: `${tenant}\0${name}`, tenant, name, policy };
}
