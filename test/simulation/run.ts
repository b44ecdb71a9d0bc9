import { Rng } from '../support/rng.ts';
import { type Scenario, scenarioOf } from './scenario.ts';
import type { Sabotage } from './socket.ts';
import { take } from './steps.ts';
import { World } from './world.ts';

export interface Failure {
  readonly seed: number;
  /** Steps taken until it failed. */
  readonly step: number;
  readonly error: Error;
  readonly steps: readonly number[];
}

export function stepsOf(seed: number, count: number): number[] {
  const rng = new Rng(seed);
  return Array.from({ length: count }, () => Math.floor(rng.next() * 2 ** 32));
}

/** Takes the steps and lets the world come to rest. */
export function run(
  scenario: Scenario,
  steps: readonly number[],
  met: Map<string, number>,
  trace?: string[],
): Failure | undefined {
  const world = new World(scenario, met, trace);
  let step = 0;
  try {
    for (const stepSeed of steps) {
      step++;
      take(world, stepSeed);
    }
    world.tell('everything comes to rest');
    world.rest();
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { seed: scenario.seed, step, error, steps: steps.slice(0, step) };
  }
}

/** So many runs are spent on leaving out steps that a failure does not need. */
const SHRINKS = 400;

/** Leaves out steps as long as the run still fails in the same way. */
function shrunk(scenario: Scenario, failure: Failure): Failure {
  let smallest = failure;
  let runs = 0;
  for (
    let size = Math.ceil(failure.steps.length / 2);
    size >= 1;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let at = 0; at < smallest.steps.length && runs < SHRINKS; ) {
      const steps = smallest.steps.filter((_, index) => index < at || index >= at + size);
      runs++;
      const again = run(scenario, steps, new Map());
      if (again !== undefined && alike(again.error, failure.error)) smallest = again;
      else at += size;
    }
  }
  return smallest;
}

/** Whatever the numbers. */
function alike(a: Error, b: Error): boolean {
  const shape = ({ message }: Error) => message.replace(/[\d\s]+|c\d|'[^']*'/g, '').slice(0, 60);
  return shape(a) === shape(b);
}

/** The failure with a small trace of its own, in words. */
export function report(scenario: Scenario, failure: Failure): string {
  const smallest = shrunk(scenario, failure);
  const trace: string[] = [];
  const last = run(scenario, smallest.steps, new Map(), trace);
  const { nodes, clients, freedoms, limits } = scenario;
  return [
    `seed ${failure.seed} fails at step ${failure.step}; ${smallest.steps.length} of its steps are enough:`,
    JSON.stringify({ nodes, clients, freedoms, limits }),
    ...trace.slice(-150),
    last?.error.stack ?? failure.error.stack ?? '',
  ].join('\n');
}

/** Runs one seed; throws with a small trace when something cannot be explained. */
export function simulate(seed: number, steps: number, met: Map<string, number>): void {
  const scenario = scenarioOf(seed);
  const failure = run(scenario, stepsOf(seed, steps), met);
  if (failure !== undefined) throw new Error(report(scenario, failure));
}

/** How many steps it takes over the seeds from 1 on until the sabotage is found; undefined: more than `most`. */
export function stepsUntilFound(sabotage: Sabotage, perSeed: number, most: number): number | undefined {
  let taken = 0;
  for (let seed = 1; taken < most; seed++) {
    const failure = run(scenarioOf(seed, sabotage), stepsOf(seed, perSeed), new Map());
    if (failure !== undefined) return taken + failure.step;
    taken += perSeed;
  }
  return undefined;
}
