import type { GapAction } from '../protocol/frames.ts';
import type { Bundles } from './bundles.ts';
import type { CatchUps } from './catchup.ts';
import type { Delivery } from './delivery.ts';
import type { Moment } from './fate/ring.ts';
import type { Witness } from './fate/witness.ts';
import { Latest } from './latest.ts';
import type { Membership } from './membership.ts';
import type { Connection, RoomRef, Ticks } from './ports.ts';
import { RoundRobin, type RoundRobinItem } from './round-robin.ts';
import type { Limits } from './settings.ts';
import type { Tally } from './tally.ts';

/** A session, as far as its reading matters. */
export interface Reader extends RoundRobinItem {
  readonly connection: Connection;
  readonly rooms: ReadonlyMap<string, Membership>;
  /** Ends the session with 4102. */
  endSlow(): void;
}

export interface SlowReaderParts {
  readonly limits: Limits;
  /** Whether there is something to fill a room's holes from. */
  readonly keeps: (room: RoomRef) => boolean;
  readonly delivery: Delivery;
  readonly bundles: Bundles;
  readonly catchUps: CatchUps;
  readonly ticks: Ticks;
  readonly tally: Tally;
  readonly witness: Witness;
}

/** A member that is away from its topic: the position that it left it at, and when. */
export interface Away {
  readonly from: number;
  readonly began: Moment;
}

/**
 * Finds the connections that read too slowly, and takes them off native delivery before uWebSockets.js would
 * drop anything of theirs.
 *
 * A socket cannot be sent more than what is published in all, so looking at every session once per
 * (hard - soft) / 2 bytes published is enough to find each between the two limits. The look goes round the
 * sessions in step with the bytes: at 1,000 sessions and 13 KB frames that is 9 looks of under 0.1 µs a frame,
 * against some 10 ms for the frame itself.
 */
export class SlowReaders {
  readonly #parts: SlowReaderParts;
  readonly #bytesPerRound: number;
  /** Members with `skip` or `latest`. */
  readonly #away = new Map<Membership, Away>();
  readonly #readers = new RoundRobin<Reader>();
  #due = 0;

  constructor(parts: SlowReaderParts) {
    this.#parts = parts;
    this.#bytesPerRound = (parts.limits.bufferedHardBytes - parts.limits.bufferedSoftBytes) / 2;
  }

  connected(session: Reader): void {
    this.#readers.add(session);
  }

  closed(session: Reader): void {
    this.#readers.remove(session);
  }

  /** So many bytes have been published to topics: looks at as many sessions as that makes due. */
  published(bytes: number): void {
    const { ticks, tally } = this.#parts;
    const { size } = this.#readers;
    this.#due = Math.min(size, this.#due + (bytes * size) / this.#bytesPerRound);
    if (this.#due < 1) return;
    const from = ticks();
    for (; this.#due >= 1; this.#due--) this.#look();
    tally.slowLookMs += ticks() - from;
  }

  #look(): void {
    const session = this.#readers.next();
    if (session === undefined) return;
    this.#parts.tally.slowLooks++;
    if (session.connection.buffered() > this.#parts.limits.bufferedSoftBytes) this.#demote(session);
  }

  /** The session's socket has sent some of what was waiting. */
  drained(session: Reader): void {
    if (this.#away.size === 0 || session.connection.buffered() >= this.#parts.limits.catchUpBytes) return;
    for (const member of session.rooms.values()) {
      const away = this.#away.get(member);
      if (away !== undefined) this.#comeBack(member, away);
    }
  }

  away(member: Membership): Away | undefined {
    return this.#away.get(member);
  }

  /** The member has left. */
  stop(member: Membership): void {
    const away = this.#away.get(member);
    if (away === undefined) return;
    // What it missed is no gap: nobody told it.
    this.#parts.witness.wasAway(member, away, { to: away.from, action: 'skip', kept: [] });
    this.#forget(member);
  }

  #forget(member: Membership): void {
    this.#away.delete(member);
    if (member.overflow === 'latest') member.room.latest?.release(member.room);
  }

  #demote(session: Reader): void {
    const native = [...session.rooms.values()].filter((member) => member.native);
    if (native.length === 0) return;
    if (native.some((member) => member.overflow === 'close')) return session.endSlow();
    this.#parts.tally.slowConsumer('demoted');
    for (const member of native) this.#leaveTopic(member);
  }

  /** What has been gathered goes out first: the position that the member stays behind at is exact. */
  #leaveTopic(member: Membership): void {
    const { room } = member;
    this.#parts.delivery.flushRoom(room);
    room.detach(member);
    if (member.overflow === 'backfill' && this.#parts.keeps(room.ref)) {
      this.#parts.catchUps.resume(member);
      return;
    }
    this.#away.set(member, { from: room.last, began: this.#parts.witness.moment() });
    if (member.overflow === 'latest') {
      room.latest ??= new Latest();
      room.latest.retain();
    }
  }

  /** Tells what was missed, and back to the topic in the same step. */
  #comeBack(member: Membership, away: Away): void {
    const { room, connection } = member;
    const { delivery, bundles, witness } = this.#parts;
    delivery.flushRoom(room);
    let position = away.from;
    const kept = member.overflow === 'latest' ? (room.latest?.since(position) ?? []) : [];
    for (const event of kept) {
      this.#gap(member, position, event.prev, 'latest');
      bundles.add(member, event);
      position = event.seq;
    }
    const action = member.overflow === 'latest' ? 'latest' : 'skip';
    this.#gap(member, position, room.last, action);
    bundles.flush(connection);
    witness.wasAway(member, away, { to: room.last, action, kept: kept.map(({ seq }) => seq) });
    this.#forget(member);
    room.attach(member);
    member.releaseAcks();
  }

  #gap(member: Membership, from: number, to: number, action: GapAction): void {
    if (to <= from) return;
    this.#parts.tally.gap('backpressure');
    const room = member.room.ref.name;
    this.#parts.bundles.tell(member, {
      type: 'gap',
      room,
      from,
      to,
      reason: 'backpressure',
      action,
    });
  }
}
