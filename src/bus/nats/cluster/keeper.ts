/**
 * Keeps this node's copy of the stores whole. The stream republishes every change with its place, the places have no
 * holes, so a hole means that something was missed; a missed last change shows in the heartbeats of the others, which
 * say how far they are, and in the places of this node's own writes. What was missed is read from the stream.
 *
 * A watch of the KV library of NATS needs the right to make consumers, and one on each node for each store; it was
 * deaf for good, without an error, once its bucket had been made anew.
 */
import type { Subscription } from '@nats-io/nats-core';
import type { Replica, Row } from '../../cluster/replica.ts';
import type { Link } from '../connection.ts';
import type { Env } from '../env.ts';
import { guarded } from '../guard.ts';
import type { ClusterSubjects } from './names.ts';
import type { Head } from './pulse.ts';
import type { Change, StateReader, StreamState } from './reader.ts';

export interface KeeperParts {
  readonly env: Env;
  readonly link: Link;
  readonly subjects: ClusterSubjects;
  readonly reader: StateReader;
  readonly replica: Replica;
  /** Makes the stream, if this node may: whether it is there then. */
  readonly recreate: () => Promise<boolean>;
  /** What went with its stream: written again, unless somebody was faster. Never rejects. */
  readonly restore: (store: string, row: Row) => Promise<unknown>;
}

const RETRY_MS = 250;
/** A change that others know of is on its way: it is given so long. */
const GRACE_MS = 250;
/** A replica that is behind its leader is given so long to catch up. */
const STALE_MS = 50;
/** Right after a read, what it has read arrives as news once more. */
const ECHO_MS = 1000;
/** News that wait for a read to end; more are read. */
const NEWS_MAX = 10_000;
/** Whoever has seen the stream go, fills the new one: the others wait before they take over what it has. */
const REFILL_MS = 1000;
/** A missing stream is not made more often than this: somebody may be deleting it on purpose. */
const RECREATE_MS = 5000;
/** What was deleted leaves no trace after this; who has been away for longer compares everything. */
export const TRACE_MS = 24 * 3_600_000;

interface Waiter {
  readonly seq: number;
  readonly reached: (reached: boolean) => void;
}

export class Keeper {
  readonly #parts: KeeperParts;
  readonly #subscription: Subscription;
  #created = '';
  #last = 0;
  #reading: Promise<void> | undefined;
  #again = false;
  #news: Change[] = [];
  /** While all is compared: what has not been met, and is gone if it is not until the end. */
  #unmet: Set<string> | undefined;
  /** The stream was gone, and this node has made it anew. */
  #refill = false;
  /** What it has to be given back. */
  #lost: { readonly store: string; readonly row: Row }[] = [];
  #recreatedAt = Number.NEGATIVE_INFINITY;
  #readAt = Number.NEGATIVE_INFINITY;
  #waiters: Waiter[] = [];
  #closed = false;
  #complete = false;
  /** When nothing was missing for the last time, by the clock of `ticks`. NaN: never. */
  #wholeAt = Number.NaN;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
    const { env, link, subjects, reader } = parts;
    this.#subscription = link.connection.subscribe(subjects.changes, {
      callback: guarded(env.log, 'a change of a store', (error, msg) => {
        const change = error === null ? reader.live(msg) : undefined;
        if (change !== undefined) this.#arrived(change);
      }),
    });
  }

  get head(): Head {
    return { created: this.#created, last: this.#last };
  }

  /** Another node has got so far. */
  heard({ created, last }: Head): void {
    if (created === '' || this.#reading !== undefined) return;
    if (created !== this.#created) void this.read();
    else if (last > this.#last) void this.reached(last);
  }

  /** Since nothing was missing; 0: nothing is, as far as this node can know. NaN: it always was. */
  get ageMs(): number {
    return this.#complete ? 0 : this.#parts.env.ticks() - this.#wholeAt;
  }

  /** The connection broke: changes may be missed from now on. */
  lost(): void {
    if (this.#complete) this.#wholeAt = this.#parts.env.ticks();
    this.#complete = false;
  }

  /**
   * Resolves when the copy has the change of this place, and then with true. Otherwise with false after `timeoutMs`.
   */
  reached(seq: number, timeoutMs = 3000): Promise<boolean> {
    // During a read it is not sure yet that the stream is still the same.
    if (this.#last >= seq && this.#reading === undefined) return Promise.resolve(true);
    const { timers } = this.#parts.env;
    return new Promise((resolve) => {
      const late = timers.after(GRACE_MS, () => void this.read());
      const over = timers.after(timeoutMs, () => waiter.reached(false));
      const waiter: Waiter = {
        seq,
        reached: (reached) => {
          late();
          over();
          this.#waiters = this.#waiters.filter((one) => one !== waiter);
          resolve(reached);
        },
      };
      this.#waiters.push(waiter);
    });
  }

  /** Reads what this node has missed, if anything. Resolves when the copy is whole, or NATS is away. */
  read(): Promise<void> {
    if (this.#reading !== undefined) {
      this.#again = true;
      return this.#reading;
    }
    this.lost();
    this.#reading = this.#run()
      .catch((error: unknown) => this.#parts.env.log.error({ err: error }, 'the stores could not be read'))
      .finally(() => this.#ended());
    return this.#reading;
  }

  close(): void {
    this.#closed = true;
    this.#subscription.unsubscribe();
    for (const { reached } of [...this.#waiters]) reached(false);
  }

  #arrived(change: Change): void {
    if (this.#reading === undefined) {
      if (change.seq === this.#last + 1) return this.#take(change);
      // Places that have been there already come again after a read, or because the stream was made anew.
      if (change.seq <= this.#last && this.#parts.env.ticks() - this.#readAt < ECHO_MS) return;
    }
    if (this.#news.length < NEWS_MAX) this.#news.push(change);
    void this.read();
  }

  #take({ seq, store: name, key, text, expiresAt }: Change): void {
    const store = this.#parts.replica.store(name);
    this.#unmet?.delete(`${name} ${key}`);
    if (text === '') store.remove(key, seq);
    else store.apply({ key, text, revision: seq, expiresAt });
    this.#moveTo(seq);
  }

  #moveTo(seq: number): void {
    this.#last = seq;
    for (const waiter of this.#waiters) if (waiter.seq <= seq) waiter.reached(true);
  }

  #ended(): void {
    this.#reading = undefined;
    for (const waiter of this.#waiters) if (waiter.seq <= this.#last) waiter.reached(true);
    const lost = this.#lost;
    this.#lost = [];
    for (const { store, row } of lost) void this.#parts.restore(store, row);
  }

  async #run(): Promise<void> {
    const { link, env } = this.#parts;
    do {
      this.#again = false;
      while (!this.#closed && link.connected() && !(await this.#whole())) await env.sleep(RETRY_MS);
    } while (this.#again && !this.#closed && link.connected());
  }

  /** One attempt. */
  async #whole(): Promise<boolean> {
    const state = await this.#parts.reader.state();
    if (state === 'missing') return this.#missing();
    if (typeof state === 'string') return false;
    await this.#begin(state);
    if (!(await this.#catchUp(state.lastSeq))) return false;
    this.#end();
    return true;
  }

  async #missing(): Promise<boolean> {
    const { env, recreate } = this.#parts;
    if (env.ticks() - this.#recreatedAt < RECREATE_MS) return false;
    this.#recreatedAt = env.ticks();
    this.#refill = await recreate();
    env.log.error({ made: this.#refill }, 'the stream of the stores is gone');
    return false;
  }

  /** Whether all has to be compared: another stream than before, one that has lost its end, or too long away. */
  async #begin({ created, lastSeq }: StreamState): Promise<void> {
    const { replica, env } = this.#parts;
    const same = created === this.#created && lastSeq >= this.#last;
    if (same && !(env.ticks() - this.#wholeAt > TRACE_MS / 2)) return;
    if (this.#created !== '') {
      env.log.warn({ created, lastSeq, had: this.head }, 'the stores are read as a whole');
      if (!this.#refill) await env.sleep(REFILL_MS);
    }
    this.#created = created;
    this.#last = 0;
    this.#unmet = new Set();
    for (const store of replica.stores)
      for (const { key } of store.rows()) this.#unmet.add(`${store.name} ${key}`);
  }

  async #catchUp(head: number): Promise<boolean> {
    const { reader, env } = this.#parts;
    while (this.#last < head) {
      const count = await reader.page(this.#last + 1, (change) => this.#take(change));
      if (typeof count === 'string') return false;
      if (count > 0) continue;
      // No more by this replica, which may be behind; and what was last may have expired since.
      const next = await reader.next(this.#last + 1);
      if (typeof next === 'string') return false;
      if (next === undefined) break;
      this.#take(next);
      await env.sleep(STALE_MS);
    }
    this.#moveTo(Math.max(this.#last, head));
    return true;
  }

  #end(): void {
    const { replica, env } = this.#parts;
    for (const name of this.#unmet ?? []) this.#gone(name);
    this.#unmet = undefined;
    this.#refill = false;
    this.#readAt = env.ticks();
    const news = this.#news;
    this.#news = [];
    for (const change of news) {
      if (change.seq <= this.#last) continue;
      if (change.seq === this.#last + 1) this.#take(change);
      else this.#again = true;
    }
    this.#complete = !this.#again && this.#parts.link.connected();
    replica.ready = true;
  }

  /** Not in the stream any more: deleted, or lost with a stream that this node has made anew. */
  #gone(name: string): void {
    const at = name.indexOf(' ');
    const store = this.#parts.replica.store(name.slice(0, at));
    const row = store.row(name.slice(at + 1));
    if (row === undefined) return;
    if (this.#refill) this.#lost.push({ store: store.name, row });
    else store.remove(row.key);
  }
}
