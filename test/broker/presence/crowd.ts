/** A crowd in one room over many nodes that lose messages and restart: how far from the truth each node counts. */
import { performance } from 'node:perf_hooks';
import type { PresenceSettings } from '../../../src/broker/settings.ts';
import { Rng } from '../../support/rng.ts';
import { Network, SETTINGS, type SimPod } from './network.ts';

export interface CrowdOptions {
  readonly seed: number;
  readonly members: number;
  readonly nodes: number;
  /** Of the members: those on two nodes. */
  readonly overlap: number;
  /** With loss, churn and restarts. */
  readonly seconds: number;
  /** Joins and as many leaves, per second. */
  readonly churn: number;
  readonly settings: PresenceSettings;
}

export interface CrowdResult {
  readonly users: number;
  /** Relative, of the node that is most off: while messages are lost, and a heartbeat after the last loss. */
  readonly worstDuring: number;
  readonly worstAfter: number;
  readonly restarts: number;
  readonly bytesPerNodeAndSecond: number;
  /** Names and hashes of other nodes that a node keeps, at most. */
  readonly names: number;
  readonly hashes: number;
  readonly counts: readonly number[];
  readonly tickMs: number;
}

export const CROWD: CrowdOptions = {
  seed: 1,
  members: 1_000_000,
  nodes: 20,
  overlap: 0.15,
  seconds: 60,
  churn: 2000,
  settings: { ...SETTINGS, sketch: 1024, messageBytes: 262_144, othersSketches: 67_108_864 },
};

/** Where each user is. */
class Crowd {
  readonly net: Network;
  readonly #options: CrowdOptions;
  readonly #rng: Rng;
  readonly #homes = new Map<string, SimPod[]>();
  /** Of the same users, to pick one. */
  readonly #names: string[] = [];
  #made = 0;

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.#rng = new Rng(options.seed);
    this.net = new Network(this.#rng, options.nodes, options.settings);
    this.net.faults = { lost: 0, twice: 0, late: 0 };
  }

  get users(): number {
    return this.#homes.size;
  }

  join(): void {
    const user = `user-${++this.#made}`;
    const homes = [this.#rng.pick(this.net.pods)];
    if (this.#rng.chance(this.#options.overlap)) homes.push(this.#rng.pick(this.net.pods));
    for (const pod of homes) pod.view.arrived({ user, info: undefined });
    this.#homes.set(user, homes);
    this.#names.push(user);
  }

  leave(): void {
    const at = this.#rng.below(this.#names.length);
    const user = this.#names[at] as string;
    this.#names[at] = this.#names.at(-1) as string;
    this.#names.pop();
    for (const pod of this.#homes.get(user) ?? []) pod.view.own.departed(user, false);
    this.#homes.delete(user);
  }

  /** A node dies, and another run of it begins; its users come back, to any node. */
  restart(): void {
    const dead = this.#rng.pick(this.net.pods);
    this.net.kill(dead);
    this.net.start(dead.node);
    for (const [user, homes] of this.#homes)
      for (const [at, home] of homes.entries()) {
        if (home !== dead) continue;
        const pod = this.#rng.pick(this.net.pods);
        pod.view.arrived({ user, info: undefined });
        homes[at] = pod;
      }
  }

  /** Relative, of the node that is most off. */
  worst(): number {
    return Math.max(...this.net.pods.map(({ view }) => Math.abs(view.count / this.users - 1)));
  }
}

export function crowd(options: CrowdOptions): CrowdResult {
  const all = new Crowd(options);
  const { net } = all;
  // In steps: a node that learns of everybody by name at once would have to hold them.
  for (let joined = 0; joined < options.members; joined++) {
    all.join();
    if (joined % 50_000 === 0) net.second();
  }
  for (let second = 0; second < 3; second++) net.second();
  net.bytes.clear();
  net.faults = { lost: 0.1, twice: 0.1, late: 0.1 };
  const began = performance.now();
  let [worstDuring, restarts, names, hashes] = [0, 0, 0, 0];
  for (let second = 0; second < options.seconds; second++) {
    for (let each = 0; each < options.churn; each++) {
      all.join();
      all.leave();
    }
    if (second % 20 === 10) {
      all.restart();
      restarts++;
    }
    net.second();
    // The death is known at once, and those who come back are told within the next seconds.
    if (second % 20 < 10) worstDuring = Math.max(worstDuring, all.worst());
    for (const { load } of net.pods)
      [names, hashes] = [Math.max(names, load.names), Math.max(hashes, load.hashes)];
  }
  const tickMs = (performance.now() - began) / options.seconds / options.nodes;
  const bytes = [...net.bytes.values()].reduce((sum, each) => sum + each, 0);
  net.faults = { lost: 0, twice: 0, late: 0 };
  for (let second = 0; second < options.settings.heartbeatMs / 1000; second++) net.second();
  return {
    users: all.users,
    worstDuring,
    worstAfter: all.worst(),
    restarts,
    bytesPerNodeAndSecond: Math.round(bytes / options.nodes / options.seconds),
    names,
    hashes,
    counts: [...new Set(net.pods.map(({ view }) => view.count))],
    tickMs,
  };
}
