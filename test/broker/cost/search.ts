/** Looks for the dearest message that a client may send: what one makes the node do in one turn of its loop. */
import type { Encoding } from '../../../src/protocol/frames.ts';
import { encodeMsgpack } from '../../../src/protocol/msgpack.ts';
import { Rng } from '../../support/rng.ts';
import { SimNode, type SimPort } from '../../support/sim.ts';

/** A socket that counts. */
class Counter implements SimPort {
  readonly address = '127.0.0.1';
  readonly topics = new Set<string>();
  closedWith: number | undefined;
  peer: SimPort['peer'];
  bytes = 0;
  frames = 0;
  readonly encoding: Encoding;

  constructor(encoding: Encoding) {
    this.encoding = encoding;
  }

  send(data: string | Uint8Array): boolean {
    this.bytes += data.length;
    this.frames++;
    return true;
  }

  publish(data: string | Uint8Array): void {
    this.send(data);
  }

  buffered(): number {
    return 0;
  }

  subscribe(topic: string): void {
    this.topics.add(topic);
  }

  unsubscribe(topic: string): void {
    this.topics.delete(topic);
  }

  end(code: number, reason?: string): void {
    if (this.closedWith !== undefined) return;
    this.closedWith = code;
    this.topics.clear();
    this.peer?.closed(code, reason);
  }
}

export type Frame = Readonly<Record<string, unknown>>;

export interface Cost {
  /** The most that one turn of the loop made for the client. */
  readonly turnBytes: number;
  /** Milliseconds of the longest turn. Of this machine: for the command, not for a test. */
  readonly turnMs: number;
  readonly bytesOut: number;
  readonly framesOut: number;
  readonly bytesIn: number;
}

const ROOMS = ['big', 'full', 'small', 'live:a', '@user', '@echo', 'no/room', 'other'];
const EVENTS = 300;
const MEMBERS = 300;

/** A node with a room of much history, and one of many members with long descriptions. */
export class Bench {
  readonly node: SimNode;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
    this.node = new SimNode({ limits: { batch: 256, frameBytes: 65_536 } });
    const writer = this.#connect('writer', 'json');
    for (let at = 0; at < EVENTS; at++)
      this.#say(writer, [{ type: 'pub', room: 'big', payload: { at, text: 'x'.repeat(3000) }, id: at }]);
    for (let at = 0; at < MEMBERS; at++) {
      const member = this.#connect(`member-${at}`, 'json', { bio: 'y'.repeat(900) });
      this.#say(member, [{ type: 'join', room: 'full' }]);
    }
    this.node.settle();
  }

  /** What a message costs, sent by so many connections of a fresh user at once. */
  cost(frames: readonly Frame[], encoding: Encoding, connections = 1): Cost {
    const clients = Array.from({ length: connections }, () => this.#connect('user', encoding));
    this.node.settle();
    const made = () => clients.reduce((sum, { bytes }) => sum + bytes, 0);
    const sent = () => clients.reduce((sum, client) => sum + client.frames, 0);
    const [before, framesBefore] = [made(), sent()];
    let turn = { bytes: 0, ms: 0 };
    let bytesIn = 0;
    const measured = (work: () => void) => {
      const [from, at] = [made(), this.#now()];
      work();
      turn = {
        bytes: Math.max(turn.bytes, made() - from),
        ms: Math.max(turn.ms, this.#now() - at),
      };
    };
    measured(() => {
      for (const client of clients) bytesIn += this.#say(client, frames);
    });
    while (this.node.busy) {
      this.node.pass(1);
      measured(() => this.node.turn());
    }
    const [bytesOut, framesOut] = [made() - before, sent() - framesBefore];
    for (const client of clients) client.end(1000);
    this.node.pass(10_000);
    this.node.settle();
    return { turnBytes: turn.bytes, turnMs: turn.ms, bytesOut, framesOut, bytesIn };
  }

  #connect(user: string, encoding: Encoding, info?: Record<string, unknown>): Counter {
    const socket = new Counter(encoding);
    const rooms = [{ match: '**', allow: ['join', 'pub', 'presence', 'history'] }] as const;
    this.node.attach(socket, { user, tenant: 'default', rooms, ...(info && { info }) });
    return socket;
  }

  #say(client: Counter, frames: readonly Frame[]): number {
    const packed = client.encoding === 'msgpack';
    const bytes = packed ? encodeMsgpack(frames) : new TextEncoder().encode(JSON.stringify(frames));
    client.peer?.receive(bytes, packed);
    return bytes.byteLength;
  }
}

/** A legal frame, or one that is nearly so. */
export function randomFrame(rng: Rng): Frame {
  const room = rng.pick(ROOMS);
  const kinds: readonly (() => Frame)[] = [
    () => ({
      type: 'history',
      room,
      limit: rng.pick([1, 100, 1000]),
      ...rng.pick([{}, { after: 0 }, { before: 200 }]),
    }),
    () => ({ type: 'presence', room, ...rng.pick([{}, { users: manyNames(rng.below(100) + 1) }]) }),
    () => ({ type: 'join', room, presence: rng.chance(0.5), ...rng.pick([{}, { since: { last: 1000 } }]) }),
    () => ({ type: 'leave', room }),
    () => ({
      type: 'seen',
      rooms: Object.fromEntries(manyNames(rng.below(900) + 1).map((name) => [name, 1])),
    }),
    () => ({ type: 'pub', room, payload: nested(rng.below(30)), msgId: `m${rng.below(1e9)}` }),
    () => ({ type: 'pub', room: 'live:a', payload: 'z'.repeat(rng.below(3000)), ephemeral: rng.chance(0.5) }),
    () => ({ type: 'refresh', token: 'a.b.c' }),
    () => ({ type: 'ping', ts: 1 }),
    () => ({ type: rng.pick(['none', 'toString', '']) }),
  ];
  return { ...rng.pick(kinds)(), id: rng.below(1000) };
}

function manyNames(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `r${at}`);
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let at = 0; at < depth; at++) value = [value];
  return value;
}

function fill(rng: Rng, frame: Frame): Frame[] {
  return Array.from({ length: 1 + rng.below(240) }, () => frame);
}

function mutated(rng: Rng, frames: readonly Frame[]): Frame[] {
  const next = [...frames];
  if (rng.chance(0.3)) return fill(rng, rng.pick(next));
  for (let changes = 1 + rng.below(8); changes > 0; changes--) {
    if (rng.chance(0.5) && next.length < 240) next.splice(rng.below(next.length + 1), 0, randomFrame(rng));
    else next[rng.below(next.length)] = randomFrame(rng);
  }
  return next;
}

export interface Found {
  readonly frames: readonly Frame[];
  readonly encoding: Encoding;
  readonly connections: number;
  readonly cost: Cost;
  readonly score: number;
}

/** Hill climbing from random messages; the dearest of all by `score`. */
export function search(bench: Bench, seed: number, tries: number, score: (cost: Cost) => number): Found {
  const rng = new Rng(seed);
  let best: Found | undefined;
  let current: Found | undefined;
  for (let at = 0; at < tries; at++) {
    const restart = current === undefined || at % 15 === 0;
    const frames = restart ? fill(rng, randomFrame(rng)) : mutated(rng, current?.frames ?? []);
    const encoding = rng.pick(['json', 'msgpack'] as const);
    const connections = rng.pick([1, 5]);
    // No longer than a client may send.
    if (JSON.stringify(frames).length > 60_000) continue;
    const cost = bench.cost(frames, encoding, connections);
    const found = { frames, encoding, connections, cost, score: score(cost) };
    if (restart || found.score > (current?.score ?? 0)) current = found;
    if (best === undefined || found.score > best.score) best = found;
  }
  return best as Found;
}
