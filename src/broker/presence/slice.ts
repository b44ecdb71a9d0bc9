import { type Delta, type Held, heldOf, type Part, type UserState } from './state.ts';

/** Sets what a user is in one of the maps that make up a room; undefined: not there. */
export type Put = (members: Map<string, Held>, user: string, held: Held | undefined) => void;

/** Deltas that wait for the whole they belong to; more means that the whole has been lost. */
const HELD_DELTAS = 256;

/**
 * What another node has told of its members of a room: one run of that node, one room. Messages may be lost, come twice
 * or late; what is missed is noticed by the versions, and `syncing` says that the whole is needed.
 */
export class Slice {
  readonly node: string;
  readonly incarnation: string;
  readonly members = new Map<string, Held>();
  /** -1: nothing has been heard yet. */
  version = -1;
  syncing = true;
  /** When the whole was asked for, by the clock. */
  askedAt = 0;
  /** When its members leave, since the node is gone; undefined: it is there. */
  endsAt: number | undefined;
  readonly #put: Put;
  #waiting: Delta[] = [];
  #parts: { readonly v: number; readonly s: UserState[] } | undefined;

  constructor(node: string, incarnation: string, put: Put) {
    this.node = node;
    this.incarnation = incarnation;
    this.#put = put;
  }

  delta(delta: Delta): void {
    if (delta.v <= this.version) return;
    if (delta.p === 0) {
      this.#replace(delta.s, delta.v);
      return;
    }
    if (!this.syncing && delta.p === this.version) {
      this.#apply(delta);
      return;
    }
    this.syncing = true;
    if (this.#waiting.length >= HELD_DELTAS) this.#waiting = [];
    this.#waiting.push(delta);
  }

  /** Parts of one whole come one after another. */
  part({ v, s, more }: Part): void {
    if (this.#parts?.v !== v) this.#parts = { v, s: [] };
    this.#parts.s.push(...s);
    if (more === 1) return;
    const whole = this.#parts.s;
    this.#parts = undefined;
    // Overtaken by what is known already.
    if (v >= this.version) this.#replace(whole, v);
  }

  /** All of its members are gone. */
  end(): void {
    for (const user of [...this.members.keys()]) this.#put(this.members, user, undefined);
  }

  #replace(states: readonly UserState[], version: number): void {
    const there = new Set(states.map(([user]) => user));
    for (const state of states) this.#put(this.members, state[0], heldOf(state));
    for (const user of [...this.members.keys()])
      if (!there.has(user)) this.#put(this.members, user, undefined);
    this.version = version;
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
