import type { Logger } from 'pino';
import { type Drain, type DrainProgress, NO_DRAIN } from '../broker/drain/drain.ts';
import type { Hub } from '../broker/hub.ts';
import type { Bus } from '../broker/ports.ts';
import type { Config } from '../config.ts';
import { after } from './time.ts';

/** A drain that a person waits for. */
const FAST_DRAIN_MS = 300;
/** Time for the last close frames to leave the socket buffers. */
const LINGER_MS = 50;
const GRACE_POLL_MS = 100;
const LOG_EVERY_MS = 5000;
/** Heartbeats may be rarer: then some rounds learn nothing new. */
const ROUND_MAX_MS = 5000;

export interface DrainOptions {
  /** Within a moment, whatever the others can take. */
  readonly fast: boolean;
  readonly reason: string;
  /** Absent: `drain.deadlineMs`. */
  readonly deadlineMs?: number | undefined;
}

export interface DrainNeeds {
  readonly config: Pick<Config, 'drain' | 'cluster'>;
  readonly hub: Hub;
  readonly bus: Bus;
  readonly log: Logger;
  /** Runs first: nobody new comes from then on. */
  readonly begun: () => void;
}

/** The one drain of a process, whoever asks for it and how often. */
export class NodeDrain {
  readonly #needs: DrainNeeds;
  #drain: Drain | undefined;
  #over: Promise<void> | undefined;

  constructor(needs: DrainNeeds) {
    this.#needs = needs;
  }

  get begun(): boolean {
    return this.#over !== undefined;
  }

  get progress(): DrainProgress {
    return this.#drain?.progress ?? NO_DRAIN;
  }

  /**
   * Resolves when all clients are gone and what they had published is stored, or when the deadline has come. Asked for
   * again, the drain under way goes on, with the sooner deadline.
   */
  begin({ fast, reason, deadlineMs = this.#needs.config.drain.deadlineMs }: DrainOptions): Promise<void> {
    if (this.#over === undefined) {
      this.#over = this.#run(reason, deadlineMs, fast ? FAST_DRAIN_MS : undefined);
    } else {
      this.#drain?.hasten(deadlineMs);
      if (fast) this.#drain?.hurry(FAST_DRAIN_MS);
    }
    const over = this.#over;
    const deadline = after(deadlineMs);
    return Promise.race([over, deadline.reached]).finally(deadline.cancel);
  }

  async #run(reason: string, deadlineMs: number, hurryMs: number | undefined): Promise<void> {
    const { config, hub, bus, log, begun } = this.#needs;
    begun();
    const { windowMs } = config.drain;
    const plan = {
      ...config.drain,
      reason,
      deadlineMs,
      hurryMs,
      // A deadline of the caller's may be shorter than the window of the settings.
      windowMs: Math.min(windowMs, deadlineMs / 2),
      roundMs: Math.min(ROUND_MAX_MS, config.cluster.heartbeatMs),
    };
    const sentAway = new Promise<void>((done) => {
      this.#drain = hub.drain(plan, Math.random, done);
    });
    log.info({ reason, ...this.progress }, 'drain: begun');
    const telling = setInterval(() => log.info(this.progress, 'drain: under way'), LOG_EVERY_MS);
    const deadline = after(deadlineMs);
    await Promise.race([sentAway, deadline.reached]);
    deadline.cancel();
    clearInterval(telling);
    const leftMs = Math.max(0, deadlineMs - this.progress.elapsedMs);
    await Promise.all([bus.drain(leftMs), hurryMs !== undefined || gracesOver(hub, leftMs)]);
    await after(LINGER_MS).reached;
    log.info(this.progress, 'drain: over');
  }
}

/**
 * Whoever has been sent away and is not in the room elsewhere yet is known to the others from here alone: a client that
 * joins meanwhile would not find them, and take them to have left.
 */
async function gracesOver(hub: Hub, withinMs: number): Promise<void> {
  for (let waited = 0; hub.keptByGrace > 0 && waited < withinMs; waited += GRACE_POLL_MS)
    await after(GRACE_POLL_MS).reached;
}
