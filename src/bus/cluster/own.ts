import type { Stored } from '../../broker/cluster.ts';
import type { Log } from '../../broker/ports.ts';
import { isOver, type Replica, type Write } from './replica.ts';

/** Stores that nobody else has: revisions are counted here, and `save` keeps them, if anything does. */
export class OwnStores {
  readonly #replica: Replica;
  readonly #log: Log;
  readonly #save: (() => Promise<void>) | undefined;
  revision = 0;

  constructor(replica: Replica, log: Log, save?: () => Promise<void>) {
    this.#replica = replica;
    this.#log = log;
    this.#save = save;
  }

  /** Here at once; answered when it is saved. One that cannot be saved goes with the next that can. */
  async write({ store: name, key, text, expiresAt, over }: Write): Promise<Stored> {
    const store = this.#replica.store(name);
    if (!isOver(over, store.get(key))) return { ok: false, why: 'conflict' };
    const revision = ++this.revision;
    if (text === undefined) store.remove(key, revision);
    else store.apply({ key, text, revision, expiresAt });
    try {
      await this.#save?.();
      return { ok: true, revision };
    } catch (error) {
      this.#log.error({ err: error, store: name }, 'the stores cannot be written to state.dir');
      return { ok: false, why: 'unavailable' };
    }
  }
}
