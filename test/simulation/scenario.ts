import type { RoomPolicy } from '../../src/broker/settings.ts';
import { compilePattern } from '../../src/protocol/room.ts';
import { Rng } from '../support/rng.ts';
import type { Freedoms } from './bus/bus.ts';
import type { Sabotage } from './socket.ts';

/** What a run is made of, beside its steps. */
export interface Scenario {
  readonly seed: number;
  /** 0: one node with the embedded bus; else so many nodes over one simulated store. */
  readonly nodes: number;
  readonly clients: number;
  /** How often the clock is seen to move within a turn: work is put off then. */
  readonly busy: number;
  readonly policies: readonly RoomPolicy[];
  readonly freedoms: Freedoms;
  /** Payload bytes at most. */
  readonly fill: number;
  readonly limits: {
    readonly catchUpBytes: number;
    readonly bufferedSoftBytes: number;
    readonly bufferedHardBytes: number;
    readonly historyPage: number;
    readonly historyTotalBytes: number;
    readonly dedupeWindowMs: number;
  };
  /** How often each kind of step is taken in this run, beside its usual share. */
  readonly weights: readonly number[];
  readonly sabotage: Sabotage;
}

export const ROOMS = ['a', 'b', 'tiny', 'inbox:x', 'live:c'] as const;
const KINDS = 32;

export function scenarioOf(seed: number, sabotage: Sabotage = {}): Scenario {
  const rng = new Rng(seed * 7919 + 13);
  const soft = rng.pick([3000, 6000, 20_000]);
  return {
    seed,
    nodes: rng.pick([0, 1, 2, 2, 3]),
    clients: 3 + rng.below(4),
    busy: rng.pick([0, 0.1, 0.5]),
    policies: policiesOf(rng),
    freedoms: {
      late: rng.pick([0, 0.2, 0.6]),
      lost: rng.pick([0, 0.1, 0.4]),
      refused: rng.pick([0, 0, 0.03]),
      unheard: rng.pick([0, 0, 0.05]),
      cold: rng.pick([0, 0.5, 1]),
    },
    fill: rng.pick([50, 600, 2000]),
    limits: {
      catchUpBytes: rng.pick([500, 2000]),
      bufferedSoftBytes: soft,
      bufferedHardBytes: soft + rng.pick([1500, 6000]),
      historyPage: rng.pick([3, 50]),
      historyTotalBytes: rng.pick([20_000, 1e9, 1e9]),
      dedupeWindowMs: 1e12,
    },
    weights: Array.from({ length: KINDS }, () => rng.pick([0.2, 1, 1, 3])),
    sabotage,
  };
}

function policiesOf(rng: Rng): RoomPolicy[] {
  const count = rng.pick([20, 200]);
  const batchMs = rng.pick([0, 0, 20]);
  const history = { count, bytes: 1 << 20, ageMs: rng.pick([20_000, 600_000]) };
  const tiny = { count: rng.pick([1, 3, 5]), bytes: rng.pick([1500, 1 << 20]), ageMs: 20_000 };
  return [
    { match: 'live:**', matches: compilePattern('live:**'), overflow: 'skip', batchMs },
    { match: 'tiny', matches: compilePattern('tiny'), overflow: 'backfill', history: tiny, batchMs },
    {
      match: 'inbox:*',
      matches: compilePattern('inbox:*'),
      overflow: 'backfill',
      history,
      cursor: true,
      batchMs,
    },
    { match: '**', matches: compilePattern('**'), overflow: 'latest', history, batchMs },
  ];
}
