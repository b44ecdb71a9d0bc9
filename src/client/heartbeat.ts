/** Milliseconds by a clock that never goes back. */
type Clock = () => number;

export interface Heart {
  /** Sends a `ping` with this `ts`. */
  ping(ts: number): void;
  /** Nothing came for too long. */
  dead(): void;
  /** A ping waits for longer than it should; false: something has come after all. */
  silence(silent: boolean): void;
}

/** All in milliseconds. */
export interface Pace {
  /** Between pings, at most. */
  readonly pingMs: number;
  /** From a ping to being told of the silence after it. */
  readonly silenceMs: number;
  /** A round trip that long is looked at again soon. */
  readonly suspectMs: number;
}

/** From a long round trip to the next ping. */
const PROBE_MS = 2000;
/** A timer that is so late comes from a machine that slept: what came meanwhile is to be read first. */
const LATE_MS = 1000;
const GRACE_MS = 100;

/**
 * Measures the round trip and finds dead connections. A browser answers the server's own pings without telling
 * us, so silence means something only while a ping of ours is waiting: timers of a background tab may come once
 * a minute, and a tick that is late must not be taken for a silent server.
 */
export class Heartbeat {
  readonly #heart: Heart;
  readonly #now: Clock;
  readonly #deathMs: number;
  readonly #pingMs: number;
  readonly #pace: Pace;
  #heardAt: number;
  #pingedAt: number | undefined;
  #suspect = false;
  #silent = false;
  #running = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #silenceTimer: ReturnType<typeof setTimeout> | undefined;

  /** Pings every `pingMs`, and at least twice per heartbeat of `seconds`. */
  constructor(heart: Heart, seconds: number, pace: Pace, now: Clock) {
    this.#heart = heart;
    this.#now = now;
    this.#deathMs = seconds * 2000;
    this.#pingMs = Math.min(pace.pingMs, this.#deathMs / 4);
    this.#pace = pace;
    this.#heardAt = now();
  }

  start(): void {
    this.#running = true;
    this.#beat();
  }

  stop(): void {
    this.#running = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#silenceTimer);
  }

  /** Something came. */
  heard(): void {
    this.#heardAt = this.#now();
    if (this.#pingedAt === undefined) return;
    this.#pingedAt = undefined;
    clearTimeout(this.#silenceTimer);
    if (!this.#silent) return;
    this.#silent = false;
    this.#heart.silence(false);
  }

  /** The round trip in milliseconds. */
  pong(ts: unknown): number | undefined {
    if (typeof ts !== 'number') return undefined;
    const rttMs = Math.max(0, this.#now() - ts);
    this.#suspect = rttMs >= this.#pace.suspectMs;
    if (this.#suspect) this.#arm();
    return rttMs;
  }

  tick(): void {
    const now = this.#now();
    const waiting = this.#pingedAt !== undefined;
    if (waiting && now - this.#heardAt >= this.#deathMs) {
      this.#heart.dead();
      return;
    }
    if (!waiting) {
      this.#pingedAt = now;
      this.#listen(this.#pace.silenceMs);
    }
    this.#heart.ping(now);
  }

  #beat(): void {
    this.tick();
    this.#arm();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (!this.#running) return;
    const ms = this.#suspect ? Math.min(this.#pingMs, PROBE_MS) : this.#pingMs;
    this.#timer = setTimeout(() => this.#beat(), ms);
  }

  #listen(ms: number): void {
    if (!this.#running) return;
    const dueAt = this.#now() + ms;
    this.#silenceTimer = setTimeout(() => {
      if (this.#now() - dueAt > LATE_MS) return this.#listen(GRACE_MS);
      this.#silent = true;
      this.#heart.silence(true);
    }, ms);
  }
}
