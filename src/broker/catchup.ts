import type { Bundles } from './bundles.ts';
import type { Delivery } from './delivery.ts';
import type { RoomEvent } from './event.ts';
import type { Moment } from './fate/ring.ts';
import type { Witness } from './fate/witness.ts';
import type { Membership } from './membership.ts';
import type { Bus, Connection, Defer, Fault, ReplayPage, Ticks } from './ports.ts';
import type { Limits } from './settings.ts';
import type { Tally } from './tally.ts';

/** One replay frame: small enough that the buffer check between two of them means something. */
export const REPLAY_PAGE = { count: 64, maxBytes: 32 * 1024 } as const;
/**
 * What all catch-ups together may take of one turn of the loop: replay must not delay live traffic. One page more
 * than this is what a turn can come to, and all of it has to stay within 5 ms.
 */
const TURN_MS = 4;
/** What of it those may take that begin in the turn; the rest is for those that began before. */
const BEGIN_MS = 2;
/** Steps that a catch-up may take at once when its wait is over: an answer out of memory or two, and the hand-over. */
const LAST_STEPS = 4;

export interface CatchUpParts {
  readonly bus: Bus;
  readonly delivery: Delivery;
  readonly bundles: Bundles;
  readonly limits: Limits;
  readonly ticks: Ticks;
  readonly defer: Defer;
  readonly tally: Tally;
  readonly witness: Witness;
}

/** A member on its way from a position in the past to native delivery. */
export interface CatchUp {
  readonly member: Membership;
  epoch: string;
  /** Where and when it began. */
  readonly from: number;
  readonly began: Moment;
  /** The last position sent. */
  cursor: number;
  /** Whether it waits for its socket to send what was given to it. */
  parked: boolean;
  /** It has been at the head once, and waited for others of its connection. */
  waited: boolean;
}

/** Work for a turn of the loop. true: there is more to do in a later one. */
type Job = () => boolean;

/**
 * Replays and hands over to native delivery, many at once: each gets a page in turn, as long as its socket
 * takes the bytes. The hand-over is one synchronous step (bus has nothing newer, gathered events flushed,
 * topic subscribed), so that nothing is lost and nothing comes twice.
 *
 * What goes to one connection goes through its bundle. With a ceiling (`delivery.batchMs`) a catch-up at its end
 * waits until the bundle is due, so that the rooms of one connection are handed over together, in one array.
 */
export class CatchUps {
  readonly #parts: CatchUpParts;
  readonly #active = new Map<Membership, CatchUp>();
  #ready: Job[] = [];
  /** At their end, until the bundle of their connection is due. */
  readonly #settling = new Map<Connection, CatchUp[]>();
  /** Several are handed over in this very step, which sends the bundle itself. */
  #together = false;
  #scheduled = false;
  /** Milliseconds of this turn of the loop that catch-ups have taken. */
  #spent = 0;
  #measuring = false;

  constructor(parts: CatchUpParts) {
    this.#parts = parts;
    parts.bundles.whenDue((connection) => this.#settle(connection));
  }

  /**
   * Runs the beginning of a replay: at once, or in a later turn when others have begun enough in this one. When
   * thousands come back at once, none of it may hold the loop up.
   */
  begin(task: () => void): void {
    if (this.#mayBegin()) this.#measured(task);
    else
      this.#enqueue(() => {
        task();
        return false;
      });
  }

  /**
   * Sends the first page now, if the socket takes it, and with it what the bundle of the connection holds; most
   * resumes end within this call, or with the bundle.
   */
  start(member: Membership, page: ReplayPage, from: number): void {
    const catchUp = this.#add(member, page.epoch, from);
    // A page that cannot be sent now is asked for again: held, thousands of them would be a second copy of the rooms.
    if (this.#mayBegin()) this.#first(catchUp, page);
    else this.#again(catchUp);
    this.#sendUnlessWaiting(catchUp);
  }

  #first(catchUp: CatchUp, page: ReplayPage): void {
    this.#measured(() => {
      if (!this.#hasRoom(catchUp)) catchUp.parked = true;
      else if (this.#deliver(catchUp, page, false)) this.#again(catchUp);
    });
  }

  /** Serves a member that has left its topic from what is kept, starting when its socket has room again. */
  resume(member: Membership): void {
    this.#add(member, member.room.epoch, member.room.last).parked = true;
  }

  /** The socket of these members has sent some of what was waiting. */
  drained(members: Iterable<Membership>): void {
    if (this.#active.size === 0) return;
    for (const member of members) {
      const catchUp = this.#active.get(member);
      if (catchUp?.parked === true && this.#hasRoom(catchUp)) this.#again(catchUp);
    }
  }

  /** The catch-up of the member that is under way. */
  under(member: Membership): Pick<CatchUp, 'from' | 'cursor' | 'began'> | undefined {
    return this.#active.get(member);
  }

  /** The member has left, or has caught up. */
  stop(member: Membership): void {
    const catchUp = this.#active.get(member);
    if (catchUp === undefined) return;
    this.#active.delete(member);
    this.#parts.witness.replayed(member, catchUp.from, catchUp.cursor, catchUp.began);
    this.#parts.tally.catchUps = this.#active.size;
  }

  #add(member: Membership, epoch: string, cursor: number): CatchUp {
    const began = this.#parts.witness.moment();
    const catchUp = { member, epoch, from: cursor, began, cursor, parked: false, waited: false };
    this.#active.set(member, catchUp);
    this.#parts.tally.catchUps = this.#active.size;
    return catchUp;
  }

  #mayBegin(): boolean {
    return this.#spent < BEGIN_MS;
  }

  #again(catchUp: CatchUp): void {
    catchUp.parked = false;
    this.#enqueue(() => this.#step(catchUp));
  }

  #enqueue(job: Job): void {
    this.#ready.push(job);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#parts.defer(() => this.#turn());
  }

  #measured(task: () => void): void {
    if (this.#measuring) return task();
    const { ticks } = this.#parts;
    const from = ticks();
    this.#measuring = true;
    try {
      task();
    } finally {
      this.#measuring = false;
      this.#spent += ticks() - from;
      this.#schedule();
    }
  }

  #turn(): void {
    const { ticks, tally } = this.#parts;
    this.#measured(() => this.#serve(ticks() + TURN_MS - this.#spent));
    tally.catchUpTurn.observe(this.#spent);
    this.#spent = 0;
    this.#scheduled = false;
    if (this.#ready.length > 0) this.#schedule();
  }

  #serve(until: number): void {
    const { ticks } = this.#parts;
    const round = this.#ready;
    this.#ready = [];
    let at = 0;
    while (at < round.length && ticks() < until) {
      const job = round[at++] as Job;
      if (job()) this.#ready.push(job);
    }
    // Those that had no turn go first the next time.
    this.#ready = round.slice(at).concat(this.#ready);
  }

  #hasRoom(catchUp: CatchUp): boolean {
    return catchUp.member.connection.buffered() < this.#parts.limits.catchUpBytes;
  }

  /** Asks for the next page and sends it. true: there is more to do now. */
  #step(catchUp: CatchUp): boolean {
    const { member } = catchUp;
    if (this.#active.get(member) !== catchUp) return false;
    if (!this.#hasRoom(catchUp)) {
      catchUp.parked = true;
      return false;
    }
    let atOnce = true;
    let more = false;
    const since = { epoch: catchUp.epoch, seq: catchUp.cursor };
    this.#parts.bus.replay(member.room.ref, since, REPLAY_PAGE, (result) => {
      const goesOn = this.#answered(catchUp, result, atOnce);
      this.#sendUnlessWaiting(catchUp);
      if (atOnce) more = goesOn;
      else if (goesOn) this.#again(catchUp);
    });
    atOnce = false;
    return more;
  }

  /** Takes the bus's answer. true: there is more to do. */
  #answered(catchUp: CatchUp, result: ReplayPage | Fault, atOnce: boolean): boolean {
    const { member } = catchUp;
    if (this.#active.get(member) !== catchUp) return false;
    if (!result.ok) {
      member.evicted(result);
      return false;
    }
    if (result.gap !== undefined) {
      const { from, to, reason } = result.gap;
      this.#parts.tally.gap(reason);
      this.#parts.witness.gap(member, from, to, reason, 'skip');
      const room = member.room.ref.name;
      this.#parts.bundles.tell(member, { type: 'gap', room, from, to, reason, action: 'skip' });
      catchUp.cursor = to;
    }
    catchUp.epoch = result.epoch;
    return this.#deliver(catchUp, result, atOnce);
  }

  /**
   * Sends the page, and hands over when it was the last. true: there is more to do. Only an answer out of memory
   * (`atOnce`) is about this very moment. The cursor may be beyond the room's position then: in a room that has been
   * silent for longer than its retention, nodes can know different positions with nothing between them.
   */
  #deliver(catchUp: CatchUp, { events, remaining }: ReplayPage, atOnce: boolean): boolean {
    if (events.length > 0) this.#send(catchUp, events);
    if (remaining > 0 || (!atOnce && catchUp.cursor !== catchUp.member.room.last)) return true;
    if (catchUp.waited || !this.#parts.bundles.wait) this.#handOver(catchUp.member);
    else this.#wait(catchUp);
    return false;
  }

  #send(catchUp: CatchUp, events: readonly RoomEvent[]): void {
    const { bundles, tally } = this.#parts;
    for (const event of events) {
      bundles.add(catchUp.member, event);
      tally.catchUpBytes += event.size;
      catchUp.cursor = event.seq;
    }
    tally.replayed += events.length;
  }

  #sendUnlessWaiting({ member }: CatchUp): void {
    const { bundles } = this.#parts;
    if (!bundles.wait) bundles.flush(member.connection);
  }

  /** For the others of the connection, until its bundle is due. */
  #wait(catchUp: CatchUp): void {
    const { member } = catchUp;
    const { connection } = member;
    const others = this.#settling.get(connection);
    if (others !== undefined) others.push(catchUp);
    else this.#settling.set(connection, [catchUp]);
    this.#parts.bundles.open(member);
  }

  /** The wait of these catch-ups is over: what came meanwhile is added, and they are handed over together. */
  #settle(connection: Connection): void {
    const settling = this.#settling.get(connection);
    if (settling === undefined) return;
    this.#settling.delete(connection);
    this.#together = true;
    for (const catchUp of settling) {
      catchUp.waited = true;
      if (this.#lastSteps(catchUp)) this.#again(catchUp);
    }
    this.#together = false;
  }

  /** true: there is more to do, in later turns. */
  #lastSteps(catchUp: CatchUp): boolean {
    for (let steps = 0; steps < LAST_STEPS; steps++) if (!this.#step(catchUp)) return false;
    return true;
  }

  /** Nothing is published between the subscription and the sending of the bundle. */
  #handOver(member: Membership): void {
    const { delivery, bundles } = this.#parts;
    const { room, connection } = member;
    delivery.flushRoom(room);
    this.stop(member);
    room.attach(member);
    bundles.tell(member, { type: 'caught_up', room: room.ref.name, seq: room.last });
    if (!this.#together) bundles.flush(connection);
    member.releaseAcks();
  }
}
