import type { Cancel, Cluster, Store } from '../cluster.ts';
import type { Clock, Log } from '../ports.ts';
import { type LifecycleArchive, type Parting, stillOpen } from './event.ts';

export interface HeirsParts {
  readonly cluster: Cluster;
  readonly archive: LifecycleArchive;
  readonly graceMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Resolves with true when the ends that were due have been told and are kept. */
  readonly conclude: (partings: readonly Parting[]) => Promise<boolean>;
  readonly inherit: (partings: readonly Parting[]) => void;
}

const INHERIT = 'lifecycle.inherit';
const STORE = 'lifecycle';
const AT_ONCE = 100;
const PATIENCE_MS = 2000;

/**
 * Every run of a node is entered in a store and crossed out when nothing of it is left to tell. Where one is entered and
 * not alive, one node (the first by name) reads its record and tells how its sessions ended, marked as inferred. If it
 * dies over that the next does it again: ids are the same, and the stream keeps each once.
 */
export class Heirs {
  readonly #parts: HeirsParts;
  readonly #store: Store;
  readonly #cancel: Cancel;
  /** Runs seen dead, and since when. */
  readonly #dead = new Map<string, number>();
  #busy = false;
  #entering = false;
  #closing = false;

  constructor(parts: HeirsParts) {
    this.#parts = parts;
    this.#store = parts.cluster.store(STORE);
    this.#cancel = parts.cluster.answer(INHERIT, (partings) => {
      if (this.#closing) return false;
      parts.inherit(partings as readonly Parting[]);
      return true;
    });
  }

  /** To be called about once a second. */
  tick(): void {
    const { cluster, clock, graceMs, log } = this.#parts;
    if (this.#closing || !cluster.connected || !this.#store.ready) return;
    this.#enter();
    this.#look();
    const due = [...this.#dead].find(([, since]) => clock.now() >= since + graceMs);
    const first = cluster.nodes().every(({ node }) => cluster.node <= node);
    if (due === undefined || !first || this.#busy) return;
    const [run] = due;
    this.#busy = true;
    this.#infer(run)
      .catch((error: unknown) =>
        log.error({ err: error, run }, 'the ends of sessions of a dead node are not told yet'),
      )
      .finally(() => {
        this.#busy = false;
      });
  }

  /** Which runs are entered and not alive. */
  #look(): void {
    const { cluster, clock } = this.#parts;
    const alive = new Set(cluster.nodes().map(({ incarnation }) => incarnation));
    for (const run of this.#dead.keys())
      if (alive.has(run) || this.#store.get(run) === undefined) this.#dead.delete(run);
    for (const { key: run } of this.#store.entries())
      if (!alive.has(run) && !this.#dead.has(run)) this.#dead.set(run, clock.now());
  }

  /** Gives what is not over to another node, and crosses this run out when nothing of it is left to tell. */
  async close(partings: readonly Parting[], live: boolean): Promise<void> {
    this.#closing = true;
    this.#cancel();
    const { cluster } = this.#parts;
    const heir = cluster.nodes().find(({ node, status }) => node !== cluster.node && !status.draining)?.node;
    if (live || (heir === undefined && partings.length > 0)) return;
    for (let at = 0; heir !== undefined && at < partings.length; at += AT_ONCE) {
      const given = await cluster.askNode(heir, INHERIT, partings.slice(at, at + AT_ONCE), PATIENCE_MS);
      // The run stays entered: whoever lives tells its ends.
      if (!given.ok || given.answer !== true) return;
    }
    await this.#store.delete(cluster.incarnation);
  }

  #enter(): void {
    const { cluster, log } = this.#parts;
    if (this.#entering || this.#store.get(cluster.incarnation) !== undefined) return;
    this.#entering = true;
    void this.#store.put(cluster.incarnation, { node: cluster.node }).then((stored) => {
      this.#entering = false;
      if (!stored.ok) log.warn({ why: stored.why }, 'this run is not entered for the record of sessions yet');
    });
  }

  async #infer(run: string): Promise<void> {
    const { archive, conclude, clock, log } = this.#parts;
    const events = await archive(run);
    if (events === undefined) return;
    const partings = stillOpen(events, clock.now());
    if (!(await conclude(partings))) return;
    await this.#store.delete(run);
    log.info({ run, sessions: partings.length }, 'the ends of sessions of a dead node have been told');
  }
}
