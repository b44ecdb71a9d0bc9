import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster, NodeStatus } from '../../../src/broker/cluster.ts';
import type { ClusterSettings, StateLimits } from '../../../src/broker/settings.ts';

export interface Setup {
  readonly settings: ClusterSettings;
  readonly limits: StateLimits;
}

export interface ClusterUnderTest {
  readonly cluster: Cluster;
  /** Another node; the same one where there is only one. */
  readonly peer: Cluster;
  /** Moves the clock of all nodes. */
  advance(ms: number): void;
  /** Closes the first node and starts it again as a new run. */
  restart(): Promise<Cluster>;
  close(): Promise<void>;
}

export interface ClusterTraits {
  readonly nodes: 1 | 2;
}

export const SETTINGS: ClusterSettings = {
  heartbeatMs: 200,
  missed: 3,
  messageBytes: 4096,
  leaseMs: 10_000,
  askMs: 500,
  skewMs: 1000,
  skewWarnMs: 1000,
};
export const STATE: StateLimits = { entries: 10, bytes: 65_536, valueBytes: 1024 };

export const STATUS: NodeStatus = { connections: 3, acceptsPerSecond: 0, loopLagMs: 0, draining: false };

export interface Promised {
  readonly traits: ClusterTraits;
  promise(
    title: string,
    check: (subject: ClusterUnderTest, context: TestContext) => Promise<void>,
    setup?: Partial<Setup>,
  ): void;
}

export function promises(
  name: string,
  make: (setup: Setup) => Promise<ClusterUnderTest>,
  traits: ClusterTraits,
): Promised {
  return {
    traits,
    promise: (title, check, setup = {}) =>
      test(`${name}: ${title}`, async (context) => {
        const subject = await make({ settings: SETTINGS, limits: STATE, ...setup });
        context.after(() => subject.close());
        await check(subject, context);
      }),
  };
}

/** Waits until it is so; fails with `what` after `ms`. */
export async function until(what: string, holds: () => boolean, ms = 2000): Promise<number> {
  const began = performance.now();
  while (!holds()) {
    if (performance.now() - began > ms) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(5);
  }
  return performance.now() - began;
}
