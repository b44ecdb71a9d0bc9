import type { Ack, Gap, RoomEvent } from '../../src/client/index.ts';
import type { Published, Told } from './checker.ts';

/** An ack or an event that took longer counts as disturbed by the fault under way. Milliseconds. */
export const LATE_MS = 1000;

/** A fault is over when nothing was late for so long; what is late after that is the machine's own stutter. Milliseconds. */
const OVER_MS = 5000;

/** What happened between the start of a fault and that of the next one. */
export interface Span {
  readonly name: string;
  /** What was hurt; known when the fault is over. */
  detail: string;
  readonly startedAt: number;
  published: number;
  acked: number;
  duplicates: number;
  received: number;
  gaps: number;
  reconnects: number;
  /** Milliseconds. The first: without a connection, of any client. */
  longestDownMs: number;
  longestAckMs: number;
  longestEventMs: number;
  /** Milliseconds from the start of the span until acks, and events, were in time again. */
  acksBackMs: number;
  eventsBackMs: number;
}

interface Entry {
  readonly room: string;
  readonly sentAt: number;
  state: Published['state'];
  seq?: number;
  epoch?: string;
}

/** One subscriber in one room, as it goes. */
export class Reception implements Told {
  readonly who: string;
  readonly room: string;
  from = -1;
  readonly epochs: string[] = [];
  readonly seqs: number[] = [];
  readonly messages: number[] = [];
  readonly gaps: Gap[] = [];
  last = 0;

  constructor(who: string, room: string) {
    this.who = who;
    this.room = room;
  }
}

/** The payload of every message: its number, and filling. */
export interface Payload {
  readonly n: number;
  readonly pad: string;
}

/** Everything that was published and received, and when. */
export class Ledger {
  readonly entries: Entry[] = [];
  readonly told: Reception[] = [];
  readonly spans: Span[] = [];
  /** By code of the refusal. */
  readonly refusals = new Map<string, number>();
  /** Holes that a client found and filled by itself: the broker should have left none. */
  healed = 0;
  open = 0;
  #span: Span;

  constructor(name: string) {
    this.#span = this.span(name);
  }

  /** The span that begins now. */
  span(name: string): Span {
    const counts = { published: 0, acked: 0, duplicates: 0, received: 0, gaps: 0, reconnects: 0 };
    const times = { acksBackMs: 0, eventsBackMs: 0 };
    const longest = { longestDownMs: 0, longestAckMs: 0, longestEventMs: 0 };
    this.#span = { name, detail: '', startedAt: performance.now(), ...counts, ...longest, ...times };
    this.spans.push(this.#span);
    return this.#span;
  }

  publish(room: string): number {
    this.#span.published++;
    this.open++;
    return this.entries.push({ room, sentAt: performance.now(), state: 'open' }) - 1;
  }

  acked(message: number, { seq, epoch, duplicate }: Ack): void {
    const entry = this.#settle(message, 'acked');
    if (seq !== undefined) entry.seq = seq;
    if (epoch !== undefined) entry.epoch = epoch;
    const span = this.#span;
    span.acked++;
    if (duplicate) span.duplicates++;
    const now = performance.now();
    span.longestAckMs = Math.max(span.longestAckMs, now - entry.sentAt);
    span.acksBackMs = backAfter(span.acksBackMs, span.startedAt, entry.sentAt, now);
  }

  refused(message: number, code: string): void {
    this.#settle(message, 'refused');
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
  }

  received(reception: Reception, { seq = 0, payload }: RoomEvent<Payload>): void {
    reception.seqs.push(seq);
    reception.messages.push(payload.n);
    reception.last = Math.max(reception.last, seq);
    const span = this.#span;
    span.received++;
    const sentAt = this.entries[payload.n]?.sentAt;
    if (sentAt === undefined) return;
    const now = performance.now();
    span.longestEventMs = Math.max(span.longestEventMs, now - sentAt);
    span.eventsBackMs = backAfter(span.eventsBackMs, span.startedAt, sentAt, now);
  }

  gap(reception: Reception, gap: Gap): void {
    reception.gaps.push(gap);
    reception.last = Math.max(reception.last, gap.to);
    this.#span.gaps++;
  }

  reconnected(downMs: number): void {
    this.#span.reconnects++;
    this.#span.longestDownMs = Math.max(this.#span.longestDownMs, downMs);
  }

  #settle(message: number, state: Entry['state']): Entry {
    const entry = this.entries[message];
    if (entry === undefined) throw new RangeError(`no message ${message}`);
    if (entry.state !== 'open') throw new Error(`message ${message} is settled twice`);
    entry.state = state;
    this.open--;
    return entry;
  }
}

/** The end of the disturbance that began with the span, after one more answer is known. */
function backAfter(backMs: number, startedAt: number, sentAt: number, now: number): number {
  const late = now - sentAt > LATE_MS;
  const joins = sentAt - startedAt <= backMs + OVER_MS;
  return late && joins ? now - startedAt : backMs;
}
