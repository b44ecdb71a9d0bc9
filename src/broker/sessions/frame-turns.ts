import type { Inbound } from '../../protocol/inbound.ts';
import type { Defer, Log, Ticks } from '../ports.ts';
import type { Limits } from '../settings.ts';

/** A session, as far as its turn matters. */
export interface Worker {
  readonly ended: boolean;
  readonly identity: { readonly tenant: string; readonly user: string };
  readonly connection: { buffered(): number };
  /** Bytes of answers made for it so far. */
  readonly answered: number;
  /** Requests whose answer is still to come. */
  readonly awaited: number;
  end(why: 'rate_limited', detail: string): void;
}

export interface FrameTurnParts<W extends Worker> {
  readonly limits: Pick<Limits, 'turnAnswerBytes' | 'catchUpBytes' | 'inboundQueueBytes'>;
  readonly defer: Defer;
  readonly ticks: Ticks;
  readonly handle: (worker: W, frame: Inbound) => void;
  readonly log: Pick<Log, 'error'>;
}

/** Longer than this no turn of the loop works on what waits, or on one message. */
const TURN_MS = 4;
/** Frames between two looks at the clock. */
const LOOK_EVERY = 16;

interface Waiting {
  frames: readonly Inbound[];
  at: number;
  bytes: number;
}

/**
 * Spreads what clients ask for over turns of the loop. A message of 10 KB can ask for 240 pages of history of 1 MiB
 * each: handled at once, it held the loop for 1.5 s, and twenty connections did so for 27 s. So a turn makes at most
 * `limits.turnAnswerBytes` of answers for all connections together. What is left of a message waits, and so do the later
 * frames of its connection; users take turns, however many connections they have. Nothing is made for a socket that has
 * not sent what was made before.
 */
export class FrameTurns<W extends Worker> {
  readonly #parts: FrameTurnParts<W>;
  readonly #waiting = new Map<W, Waiting>();
  /** Sessions that can go on, by user. A user takes one step, and is the last then. */
  readonly #ready = new Map<string, W[]>();
  #bytesLeft: number;
  #until = 0;
  #turning = false;

  constructor(parts: FrameTurnParts<W>) {
    this.#parts = parts;
    this.#bytesLeft = parts.limits.turnAnswerBytes;
  }

  /** Connections with frames that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  receive(worker: W, frames: readonly Inbound[], bytes: number): void {
    const waiting = this.#waiting.get(worker);
    if (waiting !== undefined) return this.#append(worker, waiting, frames, bytes);
    const at = this.#work(worker, frames, 0, Number.POSITIVE_INFINITY);
    if (at >= frames.length || worker.ended) return;
    this.#waiting.set(worker, { frames, at, bytes });
    this.#wake(worker);
  }

  /** An answer has come, or the socket has sent something. */
  wake(worker: Worker): void {
    if (this.#waiting.size > 0 && this.#waiting.has(worker as W)) this.#wake(worker as W);
  }

  closed(worker: W): void {
    this.#waiting.delete(worker);
  }

  #append(worker: W, waiting: Waiting, frames: readonly Inbound[], bytes: number): void {
    waiting.frames = waiting.frames.slice(waiting.at).concat(frames);
    waiting.at = 0;
    waiting.bytes += bytes;
    const most = this.#parts.limits.inboundQueueBytes;
    if (waiting.bytes <= most) return;
    this.#waiting.delete(worker);
    worker.end('rate_limited', `more than limits.inboundQueueBytes (${most}) is waiting`);
  }

  /** Handles frames as long as it may; the place of the first that has to wait. */
  #work(worker: W, frames: readonly Inbound[], from: number, steps: number): number {
    let left = steps;
    for (let at = from; at < frames.length; at++) {
      const frame = frames[at] as Inbound;
      const costly = isCostly(frame);
      if (costly ? left-- <= 0 || !this.#affords(worker) : at % LOOK_EVERY === LOOK_EVERY - 1 && this.#late())
        return at;
      const before = worker.answered;
      this.#parts.handle(worker, frame);
      if (worker.ended) return frames.length;
      this.#bytesLeft -= worker.answered - before;
    }
    return frames.length;
  }

  #affords(worker: W): boolean {
    if (worker.awaited > 0 || worker.connection.buffered() > this.#parts.limits.catchUpBytes) return false;
    return !this.#late() && this.#bytesLeft > 0;
  }

  /** Also begins a turn. */
  #late(): boolean {
    const now = this.#parts.ticks();
    if (this.#until === 0) {
      this.#until = now + TURN_MS;
      this.#turnLater();
    }
    return now >= this.#until;
  }

  #wake(worker: W): void {
    const user = `${worker.identity.tenant}\0${worker.identity.user}`;
    const ready = this.#ready.get(user);
    if (ready === undefined) this.#ready.set(user, [worker]);
    else if (!ready.includes(worker)) ready.push(worker);
    this.#turnLater();
  }

  #turnLater(): void {
    if (this.#turning) return;
    this.#turning = true;
    this.#parts.defer(() => this.#turn());
  }

  #turn(): void {
    this.#turning = false;
    this.#bytesLeft = this.#parts.limits.turnAnswerBytes;
    this.#until = 0;
    for (let next = this.#next(); next !== undefined; next = this.#next()) this.#step(next);
    if (this.#ready.size > 0) this.#turnLater();
  }

  /** The session whose turn it is; undefined: there is none, or this turn has done enough. */
  #next(): W | undefined {
    if (this.#ready.size === 0 || this.#late() || this.#bytesLeft <= 0) return undefined;
    const [user, sessions] = this.#ready.entries().next().value as [string, W[]];
    const worker = sessions.shift() as W;
    this.#ready.delete(user);
    if (sessions.length > 0) this.#ready.set(user, sessions);
    return worker;
  }

  /** One costly frame, and what is cheap around it. */
  #step(worker: W): void {
    const waiting = this.#waiting.get(worker);
    if (waiting === undefined || worker.ended) return void this.#waiting.delete(worker);
    try {
      waiting.at = this.#work(worker, waiting.frames, waiting.at, 1);
    } catch (error) {
      // One frame's trouble must not become everybody's.
      waiting.at++;
      this.#parts.log.error({ err: error }, 'message failed');
    }
    if (waiting.at >= waiting.frames.length || worker.ended) this.#waiting.delete(worker);
    // Otherwise `wake` says when it can go on.
    else if (this.#free(worker)) this.#wake(worker);
  }

  #free(worker: W): boolean {
    return worker.awaited === 0 && worker.connection.buffered() <= this.#parts.limits.catchUpBytes;
  }
}

/** Frames whose answer is as large as what it tells of. */
function isCostly(frame: Inbound): boolean {
  return (
    frame.type === 'history' ||
    frame.type === 'presence' ||
    (frame.type === 'join' && frame.presence === true)
  );
}
