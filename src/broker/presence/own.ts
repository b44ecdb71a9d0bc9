/** The members that a room has on this node, and what of them the other nodes have not been told. */
import { type Sample, Sampler } from './sketch.ts';
import { digestOf, type Held, type Info, stateOf, type UserState } from './state.ts';

export interface Arrival {
  readonly user: string;
  readonly info: Info;
}

interface Local extends Held {
  /** Lost connections that the grace keeps. */
  lost: number;
}

export class Own {
  readonly members = new Map<string, Local>();
  /** As the other nodes have been told; 0: nothing that they would have to remember. */
  version = 0;
  /** When the others were last told how many there are. */
  countedAt = Number.NEGATIVE_INFINITY;
  /** Whether the other nodes are told names; else how many there are, and a sample. */
  #naming = true;
  /** Users whose state they have not been told. undefined: there are no other nodes. */
  readonly #unnamed: Set<string> | undefined;
  #uncounted = false;
  readonly #hashes: number;
  /** Made when it is needed. */
  #sampler: Sampler | undefined;
  readonly #put: (user: string, local: Local | undefined) => void;
  #lost = 0;

  /** @param hashes of a sample, at most. undefined: there are no other nodes. */
  constructor(hashes: number | undefined, put: (user: string, local: Local | undefined) => void) {
    this.#hashes = hashes ?? 0;
    this.#unnamed = hashes === undefined ? undefined : new Set();
    this.#put = put;
  }

  get naming(): boolean {
    return this.#naming;
  }

  /** Whether some are there by their grace. */
  get keeps(): boolean {
    return this.#lost > 0;
  }

  get untold(): boolean {
    return this.#naming ? (this.#unnamed?.size ?? 0) > 0 : this.#uncounted;
  }

  arrived({ user, info }: Arrival): void {
    const known = this.members.get(user);
    this.#set(user, {
      info: info ?? known?.info,
      connections: (known?.connections ?? 0) + 1,
      lost: known?.lost ?? 0,
    });
  }

  /** @param kept the connection may come back: the user stays until `released`. */
  departed(user: string, kept: boolean): void {
    const known = this.members.get(user);
    if (known === undefined) return;
    if (kept) this.#lost++;
    this.#set(user, { ...known, connections: known.connections - 1, lost: known.lost + (kept ? 1 : 0) });
  }

  /** The grace of one connection of the user is over, or not needed any more. */
  released(user: string): void {
    const known = this.members.get(user);
    if (known === undefined) return;
    this.#lost--;
    this.#set(user, { ...known, lost: known.lost - 1 });
  }

  /** From here on the others are told how many there are. */
  countOnly(): void {
    this.#naming = false;
    this.#uncounted = true;
    this.countedAt = Number.NEGATIVE_INFINITY;
    this.#unnamed?.clear();
  }

  /** From here on the others are told names, and must ask for those that are there. */
  name(version: number): void {
    this.#naming = true;
    this.version = version;
    this.#sampler = undefined;
  }

  unnamed(): UserState[] {
    return [...(this.#unnamed ?? [])].map((user) => stateOf(user, this.members.get(user)));
  }

  /** All of it has been told. */
  told(version: number): void {
    this.version = version;
    this.#unnamed?.clear();
    this.#uncounted = false;
    if (this.members.size > 0) return;
    this.version = 0;
    this.#naming = true;
    this.#sampler = undefined;
  }

  states(): UserState[] {
    return [...this.members].map(([user, held]) => stateOf(user, held));
  }

  digest(): number {
    return digestOf(this.members);
  }

  sample(): Sample {
    this.#sampler ??= new Sampler(this.#hashes, this.members.keys());
    return this.#sampler.sample(this.members.size);
  }

  /** Until it is needed again. */
  forgetSample(): void {
    this.#sampler = undefined;
  }

  #set(user: string, local: Local): void {
    const there = local.connections + local.lost > 0;
    if (this.#sampler !== undefined && this.members.has(user) !== there) this.#resample(user, there);
    if (this.#naming) this.#unnamed?.add(user);
    else if (this.members.has(user) !== there) this.#uncounted = true;
    this.#put(user, there ? local : undefined);
  }

  #resample(user: string, there: boolean): void {
    if (there) this.#sampler?.add(user);
    else if (this.#sampler?.delete(user) === false) this.#sampler = undefined;
  }
}
