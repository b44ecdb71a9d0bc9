/** Milliseconds by a clock that never goes back. */
type Clock = () => number;

export interface Heart {
  /** Sends a `ping` with this `ts`. */
  ping(ts: number): void;
  /** Nothing came for too long. */
  dead(): void;
}

/**
 * Measures the round trip and finds dead connections. A browser answers the server's own pings without telling
 * us, so silence means something only while a ping of ours is waiting: timers of a background tab may come once
 * a minute, and a tick that is late must not be taken for a silent server.
 */
export class Heartbeat {
  readonly #heart: Heart;
  readonly #now: Clock;
  readonly #silenceMs: number;
  readonly #pingMs: number;
  #heardAt: number;
  #pingedAt: number | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Pings every `pingMs`, and at least twice per heartbeat of `seconds`. */
  constructor(heart: Heart, seconds: number, pingMs: number, now: Clock) {
    this.#heart = heart;
    this.#now = now;
    this.#silenceMs = seconds * 2000;
    this.#pingMs = Math.min(pingMs, this.#silenceMs / 4);
    this.#heardAt = now();
  }

  start(): void {
    this.#timer = setInterval(() => this.tick(), this.#pingMs);
    this.tick();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Something came. */
  heard(): void {
    this.#heardAt = this.#now();
    this.#pingedAt = undefined;
  }

  /** The round trip in milliseconds. */
  pong(ts: unknown): number | undefined {
    return typeof ts === 'number' ? Math.max(0, this.#now() - ts) : undefined;
  }

  tick(): void {
    const now = this.#now();
    const waiting = this.#pingedAt !== undefined;
    if (waiting && now - this.#heardAt >= this.#silenceMs) {
      this.#heart.dead();
      return;
    }
    this.#pingedAt ??= now;
    this.#heart.ping(now);
  }
}
