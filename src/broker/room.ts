import type { Encoding, GapReason, Position } from '../protocol/frames.ts';
import type { RoomEvent } from './event.ts';
import type { EventRing } from './fate/ring.ts';
import type { Latest } from './latest.ts';
import type { Tenant } from './limits/tenant.ts';
import type { Meter } from './meter.ts';
import { capacityOf } from './places.ts';
import type { Connection, Fault, RoomRef, RoomSink } from './ports.ts';
import type { RoomPresence } from './presence/view.ts';

/** What a room knows of one of its members. */
export interface RoomMember {
  readonly connection: Connection;
  readonly user: string;
  readonly info: Readonly<Record<string, unknown>> | undefined;
  /** Place in the roster; -1 once the member has left. */
  at: number;
  /** Whether events reach the member through the native topic; otherwise a catch-up serves it. */
  native: boolean;
  /** Whether the join is complete: only then the member counts for presence. */
  present: boolean;
  /** The room's feed ended under the member. */
  evicted(fault: Fault): void;
  /** The room's epoch changed under the member: its position is void. */
  invalidated(from: number, to: number): void;
  /** The events that acks of the member wait for are out. */
  releaseAcks(): void;
}

/** Whose acks wait for what a room holds. */
export interface Waiting {
  releaseAcks(): void;
}

/** What a room asks of the node, so that it knows nothing else of it. */
export interface RoomHost {
  gathered(room: Room, event: RoomEvent): void;
  /** No member here is served by a topic. */
  passed(room: Room, event: RoomEvent): void;
  lost(room: Room, from: number, to: number, reason: GapReason): void;
  /** Publishes what has been gathered. */
  flushRoom(room: Room): void;
}

/** Called once when the room's feed runs (no fault) or could not be opened. */
export type Opened = (fault?: Fault) => void;

/**
 * What this node knows of a room with members: its position, its roster, who is served natively.
 * Kept small: 100,000 rooms of one member each are an ordinary load.
 */
export class Room implements RoomSink {
  readonly ref: RoomRef;
  /** Makes the topic names: short ones, since uWebSockets.js stores each of them. */
  readonly #number: number;
  readonly #host: RoomHost;
  /** Whose limits its deliveries count against. */
  readonly tenant: Tenant;
  #members: RoomMember[] = [];
  epoch = '';
  /** The position after the last event received, flushed or not. */
  last = 0;
  json = 0;
  msgpack = 0;
  /** Events not published yet, in order; undefined when there are none. */
  pending: RoomEvent[] | undefined;
  pendingBytes = 0;
  /** How many of them are ephemeral. */
  passing = 0;
  /** What is pending waits for the room's ceiling. */
  held = false;
  /** Members whose acks wait with it. */
  #waiting: Waiting[] | undefined;
  presence: RoomPresence | undefined;
  latest: Latest | undefined;
  /** undefined: nothing has been delivered yet. */
  meter: Meter | undefined;
  /** undefined: as `meter`. */
  ring: EventRing | undefined;
  #opening: Opened[] | undefined = [];
  /** The feed is closed for good: whoever comes to this object is told the same, at once. */
  #failure: Fault | undefined;

  constructor(ref: RoomRef, number: number, host: RoomHost, tenant: Tenant) {
    this.ref = ref;
    this.#number = number;
    this.#host = host;
    this.tenant = tenant;
  }

  get members(): readonly RoomMember[] {
    return this.#members;
  }

  /** How long an event may wait for others. 0: until the end of the turn. */
  get batchMs(): number {
    return this.ref.policy.batchMs ?? 0;
  }

  /** Members that it may have on all nodes together; 0: no limit. */
  get capacity(): number {
    return capacityOf(this.ref.policy.capacity, this.tenant.policy.membersPerRoom);
  }

  /** The position of the last event that has gone out. */
  get published(): number {
    return this.pending?.find(({ ephemeral }) => !ephemeral)?.prev ?? this.last;
  }

  /** Whether events wait beyond this turn: their acks must not overtake them. */
  get holds(): boolean {
    return this.held && this.pending !== undefined;
  }

  /** `releaseAcks` is called once, after the next flush. */
  awaitFlush(waiting: Waiting): void {
    this.#waiting ??= [];
    this.#waiting.push(waiting);
  }

  /** What was pending has been published. */
  flushed(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    for (const member of waiting) member.releaseAcks();
  }

  /** Runs `then` at once if the feed runs or has failed, else when it does. */
  whenOpen(then: Opened): void {
    if (this.#failure !== undefined) then(this.#failure);
    else if (this.#opening === undefined) then();
    else this.#opening.push(then);
  }

  topic(encoding: Encoding): string {
    return `${this.#number.toString(36)}${encoding === 'json' ? 'j' : 'm'}`;
  }

  presenceTopic(encoding: Encoding): string {
    return `${this.topic(encoding)}p`;
  }

  add(member: RoomMember): void {
    member.at = this.#members.length;
    // V8 makes an empty array 17 places at its first push: a kilobyte for seven rooms of one member.
    if (member.at === 0) this.#members = [member];
    else this.#members.push(member);
  }

  remove(member: RoomMember): void {
    this.detach(member);
    const moved = this.#members.pop() as RoomMember;
    if (moved !== member) {
      this.#members[member.at] = moved;
      moved.at = member.at;
    }
    member.at = -1;
  }

  /** From here on every published frame of the room reaches the member. */
  attach(member: RoomMember): void {
    if (member.native) return;
    member.native = true;
    this[member.connection.encoding]++;
    member.connection.subscribe(this.topic(member.connection.encoding));
  }

  detach(member: RoomMember): void {
    if (!member.native) return;
    member.native = false;
    this[member.connection.encoding]--;
    member.connection.unsubscribe(this.topic(member.connection.encoding));
  }

  // RoomSink, called by the bus.

  opened(position: Position): void {
    // A gap must not overtake the events before it.
    this.#host.flushRoom(this);
    const from = this.last;
    const changed = this.epoch !== '' && this.epoch !== position.epoch;
    this.epoch = position.epoch;
    this.last = position.seq;
    if (changed) for (const member of [...this.members]) member.invalidated(from, position.seq);
    const waiting = this.#opening;
    this.#opening = undefined;
    if (waiting !== undefined) for (const then of waiting) then();
  }

  failed(fault: Fault): void {
    this.#failure = fault;
    const waiting = this.#opening ?? [];
    this.#opening = undefined;
    for (const then of waiting) then(fault);
    for (const member of [...this.members]) member.evicted(fault);
  }

  event(event: RoomEvent): void {
    if (!event.ephemeral) {
      this.last = event.seq;
      this.latest?.add(event);
    }
    if (this.json + this.msgpack > 0) this.#host.gathered(this, event);
    else this.#host.passed(this, event);
  }

  gap(from: number, to: number, reason: GapReason): void {
    this.#host.lost(this, from, to, reason);
    this.last = to;
  }
}
