import type { Cancel, Cluster } from './cluster.ts';
import { responsible } from './hash.ts';
import type { Refused } from './limits/tenant.ts';
import type { Clock, Defer } from './ports.ts';

export interface PlacesParts {
  readonly cluster: Cluster;
  /** The longest that a join waits for another node. */
  readonly askMs: number;
  readonly clock: Clock;
  readonly defer: Defer;
}

interface Question {
  readonly room: string;
  readonly capacity: number;
  /** Of the node that asks, with the one that it asks for, and those asked for before. */
  readonly have: number;
  /** The node may just have told another one to end the connection that has the place. */
  readonly resumed?: true;
}

/** What a node has. */
interface Count {
  readonly taken: number;
  readonly asking: number;
}

/** One room, at the node that counts it. */
interface Ledger {
  /** Members by node. */
  readonly counts: Map<string, number>;
  /** Milliseconds since 1970: what nodes have said in answer is no older. */
  readonly askedAt: number;
}

export interface Place {
  readonly room: string;
  readonly capacity: number;
  /** Of a session that goes on: its former connection may still have a place, on another node. */
  readonly resumed: boolean;
}

type Answer = { readonly used: number; readonly full: boolean };

const PLACE = 'rooms.place';
const COUNT = 'rooms.count';
const HELD = 'rooms.held';
/** Before a room is called full, counts that are older are asked for anew: a node's last word may have been lost. */
const FRESH_MS = 5000;
const RETRY_FULL_MS = 5000;
const RETRY_MS = 1000;

const NOBODY_SAYS: Refused = {
  ok: false,
  by: 'room_members',
  code: 'unavailable',
  reason: 'the node that counts the members of this room does not answer',
  retryAfterMs: RETRY_MS,
};

/**
 * Places in rooms with a capacity. For each room one node counts the members of all, and says yes or no to each join;
 * all figures are absolute, so that the next one mends whatever was lost. A node that becomes responsible first asks all
 * the others. While nodes agree on who is there, no room has more members than its capacity; while they do not (one
 * has just come or died, or is cut off) each side fills up what it takes to be free.
 */
export class Places {
  readonly #parts: PlacesParts;
  /** Places that members here have, by room. */
  readonly #taken = new Map<string, number>();
  /** Joins that wait for an answer. */
  readonly #asking = new Map<string, number>();
  readonly #ledgers = new Map<string, Promise<Ledger>>();
  readonly #cancels: readonly Cancel[];
  #freed = new Set<string>();
  /** Told with joins that waited: those that are refused have to be taken off again. */
  readonly #overtold = new Set<string>();

  constructor(parts: PlacesParts) {
    this.#parts = parts;
    const { cluster } = parts;
    this.#cancels = [
      cluster.answer(PLACE, (question, from) => this.#grant(question as Question, from)),
      cluster.answer(COUNT, (room): Count => {
        const name = room as string;
        return { taken: this.taken(name), asking: this.#asking.get(name) ?? 0 };
      }),
      cluster.hear(HELD, (rooms, from) => this.#hear(rooms as readonly [string, number][], from)),
      cluster.watchNodes((_info, change) => {
        // Other nodes may count now, and a node may have members that were not counted.
        if (change !== 'changed') this.#ledgers.clear();
      }),
    ];
  }

  close(): void {
    for (const cancel of this.#cancels) cancel();
  }

  taken(room: string): number {
    return this.#taken.get(room) ?? 0;
  }

  /**
   * `decided` runs once, at once where this node is alone, and says whether the place is used: then `free` gives it
   * back.
   */
  take({ room, capacity, resumed }: Place, decided: (refused: Refused | undefined) => boolean): void {
    const { cluster, askMs } = this.#parts;
    const nodes = this.#nodes();
    const have = this.taken(room) + add(this.#asking, room, 1);
    const done = (refused: Refused | undefined) => {
      add(this.#asking, room, -1);
      if (refused === undefined) add(this.#taken, room, 1);
      // With no answer the place may have been given all the same.
      else if (refused === NOBODY_SAYS || this.#overtold.has(room)) this.#tell(room);
      if (!decided(refused) && refused === undefined) this.free(room);
    };
    if (have > capacity) return done(roomFull(capacity, have - 1));
    if (nodes.length === 1 || !cluster.connected) return done(undefined);
    const counting = this.#counting(nodes, room);
    const question: Question = { room, capacity, have, ...(resumed && { resumed }) };
    const decide = ({ full, used }: Answer) => done(full ? roomFull(capacity, used) : undefined);
    if (counting === cluster.node) void this.#grant(question, counting).then(decide);
    else
      void cluster
        .askNode(counting, PLACE, question, askMs)
        .then((reply) => (reply.ok ? decide(reply.answer as Answer) : done(NOBODY_SAYS)));
  }

  /** Somebody who had a place has left. */
  free(room: string): void {
    add(this.#taken, room, -1);
    this.#tell(room);
  }

  #tell(room: string): void {
    const { cluster, defer } = this.#parts;
    if (cluster.kind === 'embedded') return;
    if (this.#freed.size === 0) defer(() => this.#tellFreed());
    this.#freed.add(room);
  }

  #nodes(): string[] {
    return this.#parts.cluster.nodes().map(({ node }) => node);
  }

  #counting(nodes: readonly string[], room: string): string {
    return responsible(nodes, room) ?? this.#parts.cluster.node;
  }

  #tellFreed(): void {
    const { cluster } = this.#parts;
    const nodes = this.#nodes();
    const byNode = new Map<string, [string, number][]>();
    for (const room of this.#freed) {
      const counting = this.#counting(nodes, room);
      const told = byNode.get(counting) ?? [];
      // A join that waits may have been given a place already, of which the answer is under way.
      const asking = this.#asking.get(room) ?? 0;
      if (asking > 0) this.#overtold.add(room);
      else this.#overtold.delete(room);
      told.push([room, this.taken(room) + asking]);
      byNode.set(counting, told);
    }
    this.#freed = new Set();
    for (const [node, told] of byNode) {
      if (node === cluster.node) this.#hear(told, node);
      else
        for (let at = 0; at < told.length; at += AT_ONCE)
          cluster.tellNode(node, HELD, told.slice(at, at + AT_ONCE));
    }
  }

  #hear(rooms: readonly [string, number][], from: string): void {
    for (const [room, count] of rooms) {
      const known = this.#ledgers.get(room);
      void known?.then(({ counts }) => {
        counts.set(from, count);
        // Not at once: a place may be given in this turn still.
        if (isEmpty(counts)) this.#parts.defer(() => this.#forget(room, known, counts));
      });
    }
  }

  #forget(room: string, known: Promise<Ledger>, counts: ReadonlyMap<string, number>): void {
    if (this.#ledgers.get(room) === known && isEmpty(counts)) this.#ledgers.delete(room);
  }

  async #grant({ room, capacity, have, resumed }: Question, from: string): Promise<Answer> {
    const now = this.#parts.clock.now();
    const known = this.#ledger(room);
    let ledger = await known;
    if (over() && ledger.askedAt <= (resumed ? now : now - FRESH_MS)) {
      // Otherwise somebody else has asked meanwhile.
      if (this.#ledgers.get(room) === known) this.#ledgers.set(room, this.#ask(room, ledger));
      ledger = await this.#ledger(room);
    }
    const full = over();
    if (!full) ledger.counts.set(from, have);
    return { full, used: others() + have - 1 };

    function others(): number {
      let sum = 0;
      for (const [node, count] of ledger.counts) if (node !== from) sum += count;
      return sum;
    }
    function over(): boolean {
      return others() + have > capacity;
    }
  }

  #ledger(room: string): Promise<Ledger> {
    const known = this.#ledgers.get(room);
    if (known !== undefined) return known;
    const asked = this.#ask(room, undefined);
    this.#ledgers.set(room, asked);
    return asked;
  }

  async #ask(room: string, before: Ledger | undefined): Promise<Ledger> {
    const { cluster, askMs, clock } = this.#parts;
    const askedAt = clock.now();
    const { answers } = await cluster.ask(COUNT, room, askMs);
    const counts = new Map<string, number>();
    for (const [node, answer] of answers) {
      const { taken, asking } = answer as Count;
      // It may have been given places that it does not know of yet.
      const given = asking > 0 ? (before?.counts.get(node) ?? 0) : 0;
      counts.set(node, Math.max(taken, given));
    }
    return { counts, askedAt };
  }
}

function isEmpty(counts: ReadonlyMap<string, number>): boolean {
  for (const count of counts.values()) if (count > 0) return false;
  return true;
}

/** The new number; what is 0 takes no place. */
function add(counts: Map<string, number>, room: string, by: 1 | -1): number {
  const count = (counts.get(room) ?? 0) + by;
  if (count === 0) counts.delete(room);
  else counts.set(room, count);
  return count;
}

/** In one message: names of rooms and tenants. */
const AT_ONCE = 200;

export function roomFull(capacity: number, used: number): Refused {
  const reason = `the room may have ${capacity} members`;
  return {
    ok: false,
    by: 'room_members',
    code: 'room_full',
    reason,
    limit: capacity,
    used,
    retryAfterMs: RETRY_FULL_MS,
  };
}

/** Members that a room may have; 0: no limit. */
export function capacityOf(ofRoom: number | undefined, ofTenant: number): number {
  const limits = [ofRoom ?? 0, ofTenant].filter((limit) => limit > 0);
  return limits.length === 0 ? 0 : Math.min(...limits);
}
