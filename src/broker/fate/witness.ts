import type { ErrorCode } from '../../protocol/codes.ts';
import type { GapAction, GapReason } from '../../protocol/frames.ts';
import type { RoomEvent } from '../event.ts';
import type { Membership } from '../membership.ts';
import type { Clock, Fault } from '../ports.ts';
import type { Room } from '../room.ts';
import { EventRings, type Moment } from './ring.ts';
import { type Absence, type Departed, type Note, Trail, type TrailLimits, Trails } from './trail.ts';

/** What is kept to say later what became of a message. */
export interface FateSettings extends TrailLimits {
  /** Rooms whose newest events are remembered, and events of each. 0: no events are. */
  readonly rooms: number;
  readonly roomEvents: number;
}

/** What came of an absence: what it was told of, and what it was sent of that after all. */
type Outcome = Pick<Absence, 'to' | 'action' | 'kept'>;

/** What a refused request was, as far as it is remembered. */
interface Refused {
  readonly type?: string;
  readonly room?: string;
  readonly msgId?: string;
}

/**
 * Remembers as little as lets the fate of a message be inferred: when the events of a room were handed to its topics,
 * and whatever made a member's share of them differ from all. Nothing is noted per delivery.
 */
export class Witness {
  readonly rings: EventRings;
  readonly trails: Trails;
  /** Refused publishes of backends; rooms by their keys, since it is one for all tenants. */
  readonly backends = new Trail();
  readonly #clock: Clock;
  /** How often anything has gone out to topics. */
  #nth = 0;
  /** Each membership keeps one: those of a turn share it. */
  #moment: Moment = { at: 0, nth: 0 };

  constructor(settings: FateSettings, clock: Clock) {
    this.#clock = clock;
    this.rings = new EventRings(settings.rooms, settings.roomEvents);
    this.trails = new Trails(settings, clock.now());
  }

  /** What went out before is not after it, within the same millisecond either. */
  moment(): Moment {
    const at = this.#clock.now();
    if (this.#moment.at !== at || this.#moment.nth !== this.#nth) this.#moment = { at, nth: this.#nth };
    return this.#moment;
  }

  /** Events go to the topics of the room, in this turn. */
  handed(room: Room, events: readonly RoomEvent[], now: number): void {
    const nth = ++this.#nth;
    if (!this.rings.on) return;
    const ring = this.#ringOf(room);
    for (const event of events) remember(ring, event, now, nth);
  }

  /** An event of a room none of whose members here is served by a topic. */
  passed(room: Room, event: RoomEvent): void {
    if (this.rings.on) remember(this.#ringOf(room), event, Number.NaN, ++this.#nth);
  }

  /** Events are lost to this node, and the topics were told. */
  lost(room: Room, from: number, to: number, reason: GapReason): void {
    this.#ringOf(room).lost({ from, to, reason, at: this.#clock.now(), nth: ++this.#nth });
  }

  /** The member has been told of a gap that the others of its room were not told of. */
  gap(member: Membership, from: number, to: number, reason: GapReason, action: GapAction): void {
    // Positions of the epoch that ended are none of this one.
    if (reason === 'epoch') return;
    const room = member.room.ref.name;
    this.#note(member, { kind: 'gap', room, from, to, reason, action, at: this.#clock.now() });
  }

  /** A catch-up of the member has come to its end. */
  replayed(member: Membership, from: number, to: number, began: Moment): void {
    const ended = this.moment();
    const room = member.room.ref.name;
    this.#note(member, { kind: 'replay', room, from, to, began, ended, at: ended.at });
  }

  /** The member was off its topic. */
  wasAway(member: Membership, { from, began }: Pick<Absence, 'from' | 'began'>, outcome: Outcome): void {
    const room = member.room.ref.name;
    const ended = this.moment();
    this.#note(member, { kind: 'away', room, from, began, ended, at: ended.at, ...outcome });
  }

  /**
   * The membership is over.
   * @param handed the last position that was handed to its socket
   * @param code why the server ended it
   */
  left(member: Membership, handed: number, ended: Moment, code?: ErrorCode): void {
    const { entered, room } = member;
    if (entered === undefined) return;
    const { epoch, from, resumed, joined } = entered;
    this.#note(member, {
      kind: 'stay',
      room: room.ref.name,
      epoch,
      from,
      resumed,
      joined,
      ended,
      at: ended.at,
      to: Math.max(room.last, handed),
      handed,
      ...(code !== undefined && { code }),
    });
  }

  refused(trail: Trail, { type, room, msgId }: Refused, { code }: Pick<Fault, 'code'>): void {
    if (room === undefined || (type !== 'pub' && type !== 'join')) return;
    const at = this.#clock.now();
    // A copy: a slice of the message that it came in would keep all of that.
    const id = msgId === undefined ? {} : { msgId: Buffer.from(msgId).toString() };
    this.trails.note(trail, { kind: 'refused', what: type, room, code, at, ...id }, at);
  }

  departed(session: Departed): void {
    this.trails.depart(session);
  }

  #note(member: Membership, note: Note): void {
    this.trails.note(member.owner.trail, note, note.at);
  }

  #ringOf(room: Room): ReturnType<EventRings['of']> {
    let { ring } = room;
    if (ring === undefined || ring.dropped) {
      ring = this.rings.of(room.ref.key);
      room.ring = ring;
    }
    ring.enter(room.epoch);
    return ring;
  }
}

function remember(ring: ReturnType<EventRings['of']>, event: RoomEvent, at: number, nth: number): void {
  ring.add(event.ephemeral ? -nth : event.seq, event.ts, at, event.idHash, event.skip?.stamp ?? 0);
}
