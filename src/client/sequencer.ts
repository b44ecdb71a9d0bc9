/**
 * The order of one room, as this client has it (docs/protocol.md, section 4). Pure: frames go in, effects come
 * out, nothing else happens, so that a test can lose, repeat and reorder what it likes.
 */
import type {
  AckFrame,
  CaughtUpFrame,
  EventFrame,
  GapAction,
  GapFrame,
  GapReason,
  HistoryPageFrame,
  JoinedFrame,
  Position,
} from '../protocol/frames.ts';

/** Events of (from, to] that this client will not get. */
export interface Gap {
  readonly room: string;
  /** Of the positions; where the reason is `epoch`, of `to` alone. */
  readonly epoch: string;
  /** Exclusive. */
  readonly from: number;
  /** Inclusive. */
  readonly to: number;
  /** `lost`: found by this client, by `prev`, and not to be had from the history. */
  readonly reason: GapReason | 'lost';
  readonly action: GapAction;
  readonly foundBy: 'server' | 'client';
}

/** A hole that this client found by `prev` and filled from the history. */
export interface Healed {
  readonly room: string;
  readonly from: number;
  readonly to: number;
  readonly events: number;
}

export type Effect =
  | { readonly type: 'deliver'; readonly event: EventFrame }
  | { readonly type: 'gap'; readonly gap: Gap }
  | { readonly type: 'healed'; readonly healed: Healed }
  | { readonly type: 'caughtUp'; readonly seq: number }
  /** Ask for the history after this position; hand the page to `page`, or tell its failure to `pageFailed`. */
  | { readonly type: 'fetch'; readonly after: number };

type Ordered = EventFrame | GapFrame | CaughtUpFrame | AckFrame;

interface Healing {
  readonly from: number;
  /** Inclusive: what has to be reached. */
  readonly to: number;
  events: number;
  /** The position of the last `fetch`: an answer to an older one is of no use any more. */
  asked: number;
}

/** Live frames held while a hole is filled; with more than this the hole is given up, to bound memory. */
const HELD_MAX = 10_000;
/** Places of own events that were acked while a replay runs; more are not remembered. */
const BRIDGES_MAX = 1_024;

export class Sequencer {
  readonly #room: string;
  #position: Position | undefined;
  /** A position that the server has declared void (close 4203): what was missed since is told as a gap. */
  #voided: Position | undefined;
  /** The epoch that frames of this membership belong to; undefined while not joined. */
  #epoch: string | undefined;
  #durable = false;
  /** Whether `#position` is the place right before the next event; otherwise the next event says where it is. */
  #anchored = false;
  #replaying = false;
  /** Sequence numbers of own `echo: false` events, which stand in the chain of `prev` without being delivered. */
  #bridges: number[] = [];
  #healing: Healing | undefined;
  #held: Ordered[] = [];
  #effects: Effect[] = [];

  constructor(room: string, position?: Position) {
    this.#room = room;
    this.#position = position;
  }

  /** The last position delivered: what a resume starts after. */
  get position(): Position | undefined {
    return this.#position;
  }

  /** The membership has ended or its connection is lost: what was held comes again by the resume. */
  detached(): void {
    this.#epoch = undefined;
    this.#healing = undefined;
    this.#held = [];
    this.#bridges = [];
  }

  /** Close 4203: positions are void. */
  invalidated(): void {
    this.#voided ??= this.#position;
    this.#position = undefined;
  }

  joined(frame: JoinedFrame): readonly Effect[] {
    this.detached();
    this.#epoch = frame.epoch;
    this.#durable = frame.durable;
    const { seq, epoch } = frame;
    // Only a join without `since` is fresh and without replay: nothing more comes up to `seq`.
    this.#replaying = frame.recovered !== 'fresh' || frame.replay > 0;
    this.#anchored = this.#position?.epoch === epoch && frame.recovered !== 'none';
    if (!this.#replaying) this.#moveTo(seq);
    if (this.#voided !== undefined) {
      this.#gap(this.#voided.seq, seq, 'epoch');
      this.#voided = undefined;
    }
    return this.#take();
  }

  event(frame: EventFrame): readonly Effect[] {
    if (this.#epoch === undefined) return [];
    if (frame.seq === undefined) return [{ type: 'deliver', event: frame }];
    return this.#inOrder(frame);
  }

  gap(frame: GapFrame): readonly Effect[] {
    return this.#epoch === undefined ? [] : this.#inOrder(frame);
  }

  caughtUp(frame: CaughtUpFrame): readonly Effect[] {
    return this.#epoch === undefined ? [] : this.#inOrder(frame);
  }

  /** The ack of an own `echo: false` publish: it stands where the event would have stood. */
  acked(frame: AckFrame): readonly Effect[] {
    if (this.#epoch === undefined || frame.epoch !== this.#epoch || frame.duplicate) return [];
    return this.#inOrder(frame);
  }

  /** The answer to `fetch` with this `after`. */
  page(after: number, frame: HistoryPageFrame): readonly Effect[] {
    const healing = this.#healing;
    if (healing?.asked !== after) return [];
    if (frame.epoch !== this.#epoch) return this.pageFailed(after);
    const reason = frame.truncated ? 'retention' : 'lost';
    for (const event of frame.events) this.#refill(healing, event, reason);
    if (this.#last() < healing.to && frame.more && frame.events.length > 0) {
      this.#fetch(healing);
      return this.#take();
    }
    this.#healed(healing, reason);
    return this.#take();
  }

  /** The `fetch` with this `after` could not be answered: the hole stays. */
  pageFailed(after: number): readonly Effect[] {
    if (this.#healing?.asked === after) this.#healed(this.#healing, 'lost');
    return this.#take();
  }

  /** While joined; nothing happens in the order of a room at other times. */
  get #epochNow(): string {
    return this.#epoch ?? '';
  }

  #last(): number {
    return this.#position?.seq ?? 0;
  }

  #take(): readonly Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  #inOrder(frame: Ordered): readonly Effect[] {
    if (this.#healing === undefined) this.#apply(frame);
    else this.#hold(this.#healing, frame);
    return this.#take();
  }

  #apply(frame: Ordered): void {
    if (frame.type === 'event') this.#place(frame);
    else if (frame.type === 'gap') this.#skip(frame);
    else if (frame.type === 'ack') this.#own(frame);
    else this.#settle(frame);
  }

  #hold(healing: Healing, frame: Ordered): void {
    this.#held.push(frame);
    if (this.#held.length > HELD_MAX) this.#healed(healing, 'lost');
  }

  #place(frame: EventFrame): void {
    const { seq = 0, prev = 0 } = frame;
    if (this.#anchored) {
      if (seq <= this.#last()) return;
      if (prev > this.#last() && !this.#bridges.includes(prev)) return this.#hole(prev, frame);
    }
    this.#moveTo(seq);
    this.#effects.push({ type: 'deliver', event: frame });
  }

  /** Events of (last, to] have not come. A durable room has them; a live one has kept nothing. */
  #hole(to: number, frame: Ordered): void {
    const from = this.#last();
    if (!this.#durable) {
      this.#gap(from, to, 'lost');
      this.#moveTo(to);
      this.#apply(frame);
      return;
    }
    this.#healing = { from, to, events: 0, asked: from };
    this.#held.push(frame);
    this.#fetch(this.#healing);
  }

  #fetch(healing: Healing): void {
    healing.asked = this.#last();
    this.#effects.push({ type: 'fetch', after: healing.asked });
  }

  #refill(healing: Healing, event: EventFrame, reason: 'retention' | 'lost'): void {
    const { seq = 0, prev = 0 } = event;
    if (seq <= this.#last() || seq > healing.to) return;
    if (prev > this.#last()) this.#gap(this.#last(), prev, reason);
    this.#moveTo(seq);
    healing.events++;
    this.#effects.push({ type: 'deliver', event });
  }

  /** The hole is filled as far as it can be: what was held goes on, and may show the next hole. */
  #healed(healing: Healing, reason: 'retention' | 'lost'): void {
    const { from, to, events } = healing;
    if (this.#last() < to) {
      this.#gap(this.#last(), to, reason);
      this.#moveTo(to);
    }
    if (events > 0) this.#effects.push({ type: 'healed', healed: { room: this.#room, from, to, events } });
    const held = this.#held;
    this.#held = [];
    this.#healing = undefined;
    for (const frame of held) {
      if (this.#healing === undefined) this.#apply(frame);
      else this.#held.push(frame);
    }
  }

  #skip(frame: GapFrame): void {
    const { room, from, to, reason, action } = frame;
    // The server takes us out next, and the join after that tells the gap with its exact bounds.
    if (action === 'rejoin') return;
    this.#effects.push({
      type: 'gap',
      gap: { room, epoch: this.#epochNow, from, to, reason, action, foundBy: 'server' },
    });
    if (!this.#anchored || to > this.#last()) this.#moveTo(to);
  }

  #own(frame: AckFrame): void {
    const { seq = 0 } = frame;
    if (seq <= this.#last()) return;
    // During a replay the events before it are still to come; it only explains a `prev` then.
    if (!this.#replaying) this.#moveTo(seq);
    else if (this.#bridges.length < BRIDGES_MAX) this.#bridges.push(seq);
  }

  #settle(frame: CaughtUpFrame): void {
    if (this.#anchored && frame.seq > this.#last() && !this.#bridges.includes(frame.seq))
      return this.#hole(frame.seq, frame);
    this.#replaying = false;
    const own = Math.max(0, ...this.#bridges);
    this.#moveTo(Math.max(frame.seq, own, this.#anchored ? this.#last() : 0));
    this.#effects.push({ type: 'caughtUp', seq: frame.seq });
  }

  #moveTo(seq: number): void {
    this.#position = { epoch: this.#epochNow, seq };
    this.#anchored = true;
    if (this.#bridges.length > 0) this.#bridges = this.#bridges.filter((own) => own > seq);
  }

  #gap(from: number, to: number, reason: Gap['reason']): void {
    const gap: Gap = {
      room: this.#room,
      epoch: this.#epochNow,
      from,
      to,
      reason,
      action: 'skip',
      foundBy: 'client',
    };
    this.#effects.push({ type: 'gap', gap });
  }
}
