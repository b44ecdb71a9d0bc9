import { type Sample, Sampler } from './sketch.ts';
import { type Delta, type Held, heldOf, type Part, type UserState } from './state.ts';

/** Sets what a user is in one of the maps that make up a room; undefined: not there. */
export type Put = (members: Map<string, Held>, user: string, held: Held | undefined) => void;

/** What a node keeps of the others, over all rooms. */
export interface Load {
  /** Members by name. */
  names: number;
  /** Of samples. */
  hashes: number;
}

/** Deltas that wait for the whole they belong to; more means that the whole has been lost. */
const HELD_DELTAS = 256;

/**
 * What another node has told of its members of a room: one run of that node, one room; by name, or a sample of them.
 * Messages may be lost, come twice or late; what is missed is noticed by the versions, and `syncing` says that the
 * whole is needed.
 */
export class Slice {
  readonly node: string;
  readonly incarnation: string;
  readonly members = new Map<string, Held>();
  #sample: Sample | undefined;
  /** -1: nothing has been heard yet. */
  version = -1;
  syncing = true;
  /** When the whole was asked for, by the clock. */
  askedAt = 0;
  /** When it was asked for the other form, names or counts. */
  formAskedAt = 0;
  /** When its members leave, since the node is gone; undefined: it is there. */
  endsAt: number | undefined;
  readonly #put: Put;
  readonly #load: Load;
  #waiting: Delta[] = [];
  #parts:
    | { readonly v: number; readonly lists: (readonly UserState[] | undefined)[]; of: number }
    | undefined;

  constructor(node: string, incarnation: string, put: Put, load: Load) {
    this.node = node;
    this.incarnation = incarnation;
    this.#put = put;
    this.#load = load;
  }

  /** In place of the members. */
  get sample(): Sample | undefined {
    return this.#sample;
  }

  get users(): number {
    return this.#sample?.users ?? this.members.size;
  }

  delta(delta: Delta): void {
    if (delta.v <= this.version) return;
    if (delta.p === 0) {
      this.#replace(delta.s, delta.v);
      return;
    }
    if (!this.syncing && this.#sample === undefined && delta.p === this.version) {
      this.#apply(delta);
      return;
    }
    this.syncing = true;
    // Changes of names that are not kept here.
    if (this.#sample !== undefined) return;
    if (this.#waiting.length >= HELD_DELTAS) this.#waiting = [];
    this.#waiting.push(delta);
  }

  /** @returns whether it was the last of its whole. */
  part({ v, s, more, at }: Part): boolean {
    if (this.#parts?.v !== v) this.#parts = { v, lists: [], of: Number.POSITIVE_INFINITY };
    const { lists } = this.#parts;
    const place = at ?? lists.length;
    lists[place] = s;
    if (more === 0) this.#parts.of = place + 1;
    if (lists.length < this.#parts.of || lists.includes(undefined)) return false;
    this.#parts = undefined;
    // Otherwise overtaken by what is known already.
    if (v >= this.version)
      this.#replace(
        lists.flatMap((list) => list ?? []),
        v,
      );
    return true;
  }

  /** The node has told nothing since this version. */
  same(version: number): void {
    if (version === this.version && this.syncing) this.#synced();
  }

  /** The node names nobody any more. */
  counted(version: number, sample: Sample): void {
    if (version < this.version) return;
    this.#clear();
    this.#keep(sample);
    this.version = version;
    this.syncing = false;
  }

  /** Goes on without the names; what the node counts is then needed. */
  forgetNames(hashes: number): void {
    const sample = this.sampled(hashes);
    this.#clear();
    this.#keep(sample);
    this.syncing = true;
  }

  /** @param hashes the most of them. */
  sampled(hashes: number): Sample {
    return this.#sample ?? new Sampler(hashes, this.members.keys()).sample(this.members.size);
  }

  /** All of its members are gone. */
  end(): void {
    this.#clear();
    this.#keep(undefined);
  }

  #keep(sample: Sample | undefined): void {
    this.#load.hashes += (sample?.hashes?.length ?? 0) - (this.#sample?.hashes?.length ?? 0);
    this.#sample = sample;
  }

  #clear(): void {
    for (const user of [...this.members.keys()]) this.#put(this.members, user, undefined);
    this.#waiting = [];
    this.#parts = undefined;
  }

  #replace(states: readonly UserState[], version: number): void {
    const there = new Set(states.map(([user]) => user));
    for (const state of states) this.#put(this.members, state[0], heldOf(state));
    for (const user of [...this.members.keys()])
      if (!there.has(user)) this.#put(this.members, user, undefined);
    this.#keep(undefined);
    this.version = version;
    this.#synced();
  }

  #synced(): void {
    this.syncing = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const delta of waiting) this.delta(delta);
  }

  #apply({ s, v }: Delta): void {
    for (const state of s) this.#put(this.members, state[0], heldOf(state));
    this.version = v;
  }
}
