import type { Rng } from '../../test/support/rng.ts';

/** What can be done to the stage, and for how long it lasts. */
export const FAULTS = {
  'broker-kill': 'kill -9 of a broker, started again on its port after 2 s',
  'nats-follower': 'kill -9 of a NATS node that leads no shard, or the fewest; back after 3 s',
  'nats-leader': 'kill -9 of the NATS node that leads a shard; back after 8 s, longer than an election',
  'nats-attached': 'kill -9 of the NATS node that a broker is attached to; back after 3 s',
  'nats-hang': 'SIGSTOP of a NATS node for 6 s',
  'nats-away': 'kill -9 of all NATS nodes, back after 10 s',
  'lame-duck': 'lame duck of a NATS node, started again when it has gone',
  rolling: 'SIGTERM of one broker after the other, each started again when it has drained',
} as const;

export type FaultKind = keyof typeof FAULTS;

export interface Turn {
  readonly fault: FaultKind;
  /** From the start of the load. */
  readonly atSeconds: number;
}

/** Each kind in turn, each within the first half of its share of the time, so that the stage can heal in the other. */
export function timetable(faults: readonly FaultKind[], seconds: number, rng: Rng): Turn[] {
  const share = seconds / faults.length;
  return faults.map((fault, turn) => ({ fault, atSeconds: share * (turn + 0.1 + rng.next() * 0.3) }));
}
