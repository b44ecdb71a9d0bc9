import type { Cluster } from '../cluster.ts';
import type { Defer } from '../ports.ts';
import { pack } from './pack.ts';

/**
 * `[key]`: the whole of the room is wanted as the node tells it; or with names; or a count will do. With a version and
 * how many there were (and a digest of them): only if it differs.
 */
export type Wanted =
  | readonly [key: string]
  | readonly [key: string, form: 'names' | 'count']
  | readonly [key: string, unless: 'version', version: number, users: number]
  | readonly [key: string, unless: 'digest', users: number, digest: number];

export const ASK = 'presence.ask';
/** To all nodes. */
export const ALL = '';

/** What one turn wants to know of other nodes goes out together. It may be lost: whoever needs it asks again. */
export class Asking {
  readonly #cluster: Cluster;
  readonly #defer: Defer;
  readonly #bytes: number;
  readonly #wanted = new Map<string, Map<string, Wanted>>();

  /** @param bytes of a message. */
  constructor(cluster: Cluster, defer: Defer, bytes: number) {
    this.#cluster = cluster;
    this.#defer = defer;
    this.#bytes = bytes;
  }

  want(node: string, wanted: Wanted): void {
    if (this.#wanted.size === 0) this.#defer(() => this.#ask());
    let rooms = this.#wanted.get(node);
    if (rooms === undefined) {
      rooms = new Map();
      this.#wanted.set(node, rooms);
    }
    // What is wanted in any case is not made conditional.
    if (wanted.length <= 2 || !rooms.has(wanted[0])) rooms.set(wanted[0], wanted);
  }

  #ask(): void {
    for (const [node, rooms] of this.#wanted)
      for (const wanted of pack([...rooms.values()], this.#bytes)) {
        if (node === ALL) this.#cluster.tell(ASK, wanted);
        else this.#cluster.tellNode(node, ASK, wanted);
      }
    this.#wanted.clear();
  }
}
