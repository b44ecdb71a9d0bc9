import type { Delivery } from './delivery.ts';
import { encodeEvents } from './encode.ts';
import type { RoomEvent } from './event.ts';
import type { Membership } from './membership.ts';
import type { Bus, Clock, Defer, Fault, ReplayPage } from './ports.ts';
import type { Limits } from './settings.ts';
import type { Tally } from './tally.ts';

/** One replay frame: small enough that the buffer check between two of them means something. */
const CHUNK_BYTES = 32 * 1024;
const CHUNK_EVENTS = 64;
/** A page asked from the bus at once. */
export const REPLAY_PAGE = { count: 512, maxBytes: 512 * 1024 } as const;
/** What all catch-ups together may take of one turn of the loop: replay must not delay live traffic. */
const TURN_MS = 5;

export interface CatchUpParts {
  readonly bus: Bus;
  readonly delivery: Delivery;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly defer: Defer;
  readonly tally: Tally;
}

/** A member on its way from a position in the past to native delivery. */
class CatchUp {
  readonly member: Membership;
  epoch: string;
  /** The last position sent. */
  cursor: number;
  page: readonly RoomEvent[];
  /** Next event of the page. */
  next = 0;
  /** Events that the bus had beyond the page. */
  remaining: number;
  waiting = false;

  constructor(member: Membership, page: ReplayPage, cursor: number) {
    this.member = member;
    this.epoch = page.epoch;
    this.cursor = cursor;
    this.page = page.events;
    this.remaining = page.remaining;
  }
}

/**
 * Replays and hands over to native delivery, many at once: each gets a chunk in turn, as long as its socket
 * takes the bytes. The hand-over is one synchronous step (bus has nothing newer, gathered events flushed,
 * topic subscribed), so that nothing is lost and nothing comes twice.
 */
export class CatchUps {
  readonly #parts: CatchUpParts;
  #ready: CatchUp[] = [];
  readonly #parked = new Map<Membership, CatchUp>();
  #scheduled = false;

  constructor(parts: CatchUpParts) {
    this.#parts = parts;
  }

  /** Sends the first page now as far as the socket takes it; most resumes end within this call. */
  start(member: Membership, page: ReplayPage, from: number): void {
    const catchUp = new CatchUp(member, page, from);
    if (!this.#step(catchUp)) this.#again(catchUp);
  }

  /** Serves a member that has left its topic from what is kept, starting when its socket has room again. */
  resume(member: Membership): void {
    const { epoch, last } = member.room;
    const nothing: ReplayPage = { ok: true, epoch, recovered: 'full', events: [], remaining: 0 };
    this.#parked.set(member, new CatchUp(member, nothing, last));
  }

  /** The socket of these members has sent some of what was waiting. */
  drained(members: Iterable<Membership>): void {
    if (this.#parked.size === 0) return;
    for (const member of members) {
      const catchUp = this.#parked.get(member);
      if (catchUp !== undefined && this.#hasRoom(catchUp)) this.#again(catchUp);
    }
  }

  /** The member has left; what it was owed is forgotten. */
  stop(member: Membership): void {
    this.#parked.delete(member);
  }

  #again(catchUp: CatchUp): void {
    this.#parked.delete(catchUp.member);
    this.#ready.push(catchUp);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#parts.defer(() => this.#turn());
  }

  #turn(): void {
    const { clock, defer } = this.#parts;
    const until = clock.now() + TURN_MS;
    const round = this.#ready;
    this.#ready = [];
    let at = 0;
    while (at < round.length && clock.now() < until) {
      const catchUp = round[at++] as CatchUp;
      if (!this.#step(catchUp)) this.#ready.push(catchUp);
    }
    // Those that had no turn go first the next time.
    this.#ready = round.slice(at).concat(this.#ready);
    this.#scheduled = this.#ready.length > 0;
    if (this.#scheduled) defer(() => this.#turn());
  }

  #hasRoom(catchUp: CatchUp): boolean {
    return catchUp.member.connection.buffered() < this.#parts.limits.catchUpBytes;
  }

  /** Sends one chunk. true: nothing more to do now, because it is finished, parked or waits for the bus. */
  #step(catchUp: CatchUp): boolean {
    if (catchUp.member.left || catchUp.waiting) return true;
    if (!this.#hasRoom(catchUp)) {
      this.#parked.set(catchUp.member, catchUp);
      return true;
    }
    if (catchUp.next < catchUp.page.length) {
      this.#sendChunk(catchUp);
      return catchUp.next >= catchUp.page.length && this.#turnPage(catchUp);
    }
    return this.#turnPage(catchUp);
  }

  #sendChunk(catchUp: CatchUp): void {
    const { page, member } = catchUp;
    let to = catchUp.next;
    let bytes = 0;
    while (to < page.length && to - catchUp.next < CHUNK_EVENTS && bytes < CHUNK_BYTES) {
      bytes += (page[to] as RoomEvent).json.length;
      to++;
    }
    const events = page.slice(catchUp.next, to);
    const data = encodeEvents(events, member.connection.encoding);
    if (!member.connection.send(data)) return;
    this.#parts.tally.replayed += events.length;
    this.#parts.tally.bytesOut += data.length;
    catchUp.cursor = (events[events.length - 1] as RoomEvent).seq;
    catchUp.next = to;
  }

  /** Asks for what follows the page just sent. true: finished, or waiting for an answer of the bus. */
  #turnPage(catchUp: CatchUp): boolean {
    const { room } = catchUp.member;
    if (catchUp.remaining === 0 && catchUp.cursor === room.last) return this.#handOver(catchUp);
    let atOnce = true;
    let settled = true;
    catchUp.waiting = true;
    this.#parts.bus.replay(room.ref, { epoch: catchUp.epoch, seq: catchUp.cursor }, REPLAY_PAGE, (result) => {
      catchUp.waiting = false;
      const finished = this.#turned(catchUp, result, atOnce);
      if (atOnce) settled = finished;
      else if (!finished) this.#again(catchUp);
    });
    atOnce = false;
    return settled;
  }

  /** Takes the bus's answer. true: the member is served natively again, or gone. */
  #turned(catchUp: CatchUp, result: ReplayPage | Fault, atOnce: boolean): boolean {
    const { member } = catchUp;
    if (member.left) return true;
    if (!result.ok) {
      member.evicted(result);
      return true;
    }
    if (result.gap !== undefined) {
      const { from, to, reason } = result.gap;
      this.#parts.tally.gap(reason);
      member.owner.send({ type: 'gap', room: member.room.ref.name, from, to, reason, action: 'skip' });
      catchUp.cursor = to;
    }
    catchUp.epoch = result.epoch;
    catchUp.page = result.events;
    catchUp.next = 0;
    catchUp.remaining = result.remaining;
    // Only an answer out of memory is about this very moment. The position may be beyond the room's: in a room that
    // has been silent for longer than its retention, nodes can know different positions with nothing between them.
    const atHead = atOnce && result.events.length === 0 && result.remaining === 0;
    return atHead && this.#handOver(catchUp);
  }

  #handOver(catchUp: CatchUp): boolean {
    const { member } = catchUp;
    const { room } = member;
    this.#parts.delivery.flushRoom(room);
    room.attach(member);
    member.owner.send({ type: 'caught_up', room: room.ref.name, seq: room.last });
    member.releaseAcks();
    return true;
  }
}
