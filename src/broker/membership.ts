import type { AckFrame, Overflow, ServerFrame } from '../protocol/frames.ts';
import { allows, type Grant } from './access/access.ts';
import type { Moment } from './fate/ring.ts';
import type { Trail } from './fate/trail.ts';
import type { Tenant } from './limits/tenant.ts';
import type { Connection, Fault, Identity, RoomRef } from './ports.ts';
import type { Room, RoomMember } from './room.ts';
import type { PayloadSchema } from './schema/schema.ts';

/** The session a membership belongs to, as far as a room, a catch-up or a drain needs it. */
export interface Owner {
  /** Of the session. */
  readonly id: string;
  readonly connection: Connection;
  readonly identity: Identity;
  /** What has happened to it. */
  readonly trail: Trail;
  /** At once. */
  send(frame: ServerFrame): void;
  /** After the events of this turn. */
  answer(frame: ServerFrame): void;
  /** Ends the membership without being asked by the client. */
  expel(membership: Membership, fault: Fault): void;
  /** Ends the session with 4102. */
  endSlow(): void;
}

/** How a membership began. */
export interface Entered {
  readonly joined: Moment;
  readonly epoch: string;
  /** The position that its events begin after. */
  readonly from: number;
  /** With a position that the client had. */
  readonly resumed: boolean;
}

/** A room as a session sees it: decided once, since a publish asks every time. */
export interface Target {
  readonly ref: RoomRef;
  readonly grant: Grant;
  readonly pub: boolean;
  /** What is published there has to fit it. */
  readonly schema: PayloadSchema | undefined;
}

/** How a client wants to be in a room. */
export interface Manner {
  readonly overflow: Overflow;
  readonly watches: boolean;
}

const HELD_ACKS = 1000;

/**
 * One session in one room. There are some for each connection, mostly idle: so what is known of it stands in its own
 * fields, and nothing of its join is kept once that has been answered.
 */
export class Membership implements RoomMember, Target {
  readonly owner: Owner;
  readonly room: Room;
  readonly overflow: Overflow;
  readonly watches: boolean;
  grant: Grant;
  schema: PayloadSchema | undefined;
  at = -1;
  native = false;
  present = false;
  /** What the record of sessions calls it, once it is present. */
  place = '';
  /** Counts among those that the room has places for. */
  placed = false;
  /** Acks of own publishes whose events the member has yet to be sent, by a catch-up or with what the room holds. */
  #held: AckFrame[] | undefined;
  /** Answers the join; undefined: it has been answered. */
  #refuse: ((fault: Fault) => void) | undefined;
  // What it began with.
  #joined: Moment | undefined;
  #epoch = '';
  #from = 0;
  #resumed = false;

  /** `refuse` answers the join, as long as it has not been answered. */
  constructor(
    owner: Owner,
    room: Room,
    { overflow, watches }: Manner,
    { grant, schema }: Target,
    refuse: (fault: Fault) => void,
  ) {
    this.owner = owner;
    this.room = room;
    this.overflow = overflow;
    this.watches = watches;
    this.grant = grant;
    this.schema = schema;
    this.#refuse = refuse;
  }

  get ref(): RoomRef {
    return this.room.ref;
  }

  get pub(): boolean {
    return allows(this.grant, 'pub');
  }

  /** Once its join has been answered. */
  get entered(): Entered | undefined {
    if (this.#joined === undefined) return undefined;
    return { joined: this.#joined, epoch: this.#epoch, from: this.#from, resumed: this.#resumed };
  }

  /** The join has been answered: `from` is the position, in the room's epoch, that its events begin after. */
  enter(joined: Moment, from: number, resumed: boolean): void {
    this.#joined = joined;
    this.#epoch = this.room.epoch;
    this.#from = from;
    this.#resumed = resumed;
    this.#refuse = undefined;
  }

  get connection(): Connection {
    return this.owner.connection;
  }

  get tenant(): Tenant {
    return this.room.tenant;
  }

  get user(): string {
    return this.owner.identity.user;
  }

  get info(): Readonly<Record<string, unknown>> | undefined {
    return this.owner.identity.info;
  }

  get left(): boolean {
    return this.at < 0;
  }

  /** The ack of an own publish: not before its event (chat.v1, clause 5.2), so it waits for both. */
  acknowledge(ack: AckFrame): void {
    if (this.left || (this.native && !this.room.holds)) {
      this.owner.answer(ack);
      return;
    }
    this.#held ??= [];
    this.#held.push(ack);
    if (this.native) {
      if (this.#held.length === 1) this.room.awaitFlush(this);
      return;
    }
    // Who publishes so much without reading holds memory here that nothing else bounds.
    if (this.#held.length > HELD_ACKS) this.owner.endSlow();
  }

  /** The catch-up is over, or the membership, or what the room held is out. */
  releaseAcks(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) for (const ack of held) this.owner.answer(ack);
  }

  evicted(fault: Fault): void {
    if (this.present) this.owner.expel(this, fault);
    else this.#refuse?.(fault);
  }

  /** The client is told that its position is void and that it is out: it joins again to go on. */
  invalidated(from: number, to: number): void {
    // A join under way is answered with the new epoch.
    if (!this.present) return;
    const room = this.room.ref.name;
    this.owner.send({ type: 'gap', room, from, to, reason: 'epoch', action: 'rejoin' });
    this.owner.expel(this, {
      ok: false,
      code: 'unavailable',
      reason: 'the epoch of the room changed: join again',
    });
  }
}
