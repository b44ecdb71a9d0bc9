/** How well the connection serves: from round trips, silence, losses, and what the server tells of slow reading. */
import { DEFAULTS, type QualityOptions } from './options.ts';

const CAUSES = ['lost', 'silence', 'latency', 'slow'] as const;

/**
 * `lost`: there is no connection, or there was none within `holdMs`. `silence`: a ping is unanswered for
 * `silenceMs`. `latency`: two round trips in a row took `weakRttMs`, and none since was within `healthyRttMs`.
 * `slow`: within `holdMs` the server told that this client reads too slowly.
 */
export type QualityCause = (typeof CAUSES)[number];

export interface Quality {
  /** `healthy`: there is no cause. */
  readonly level: 'healthy' | 'weak';
  readonly causes: readonly QualityCause[];
}

const HEALTHY: Quality = { level: 'healthy', causes: [] };
const FOREVER = Number.POSITIVE_INFINITY;

export class QualityMeter {
  readonly #limits: Required<QualityOptions>;
  readonly #changed: (quality: Quality) => void;
  readonly #now: () => number;
  /** Until when a cause holds; forever: until the opposite is seen. */
  readonly #until = new Map<QualityCause, number>();
  #quality = HEALTHY;
  /** The last round trip was a long one: a single one may be a pause of this tab. */
  #suspect = false;
  /** The loss says something about the link; one that the server had planned does not. */
  #unplanned = false;
  #stopped = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Throws a TypeError for thresholds that exclude one another. */
  constructor(limits: Required<QualityOptions>, changed: (quality: Quality) => void, now: () => number) {
    const { weakRttMs, healthyRttMs } = limits;
    if (healthyRttMs > weakRttMs)
      throw new TypeError(
        `carillon: quality.healthyRttMs (${healthyRttMs}) is over quality.weakRttMs (${weakRttMs})`,
      );
    this.#limits = limits;
    this.#changed = changed;
    this.#now = now;
  }

  get quality(): Quality {
    return this.#quality;
  }

  roundTrip(rttMs: number): void {
    const { weakRttMs, healthyRttMs } = this.#limits;
    const long = rttMs >= weakRttMs;
    if (long && this.#suspect) this.#until.set('latency', FOREVER);
    if (rttMs <= healthyRttMs) this.#until.delete('latency');
    this.#suspect = long;
    this.#look();
  }

  /** A ping waits for too long; false: something has come after all. */
  silence(silent: boolean): void {
    if (silent) this.#until.set('silence', FOREVER);
    else this.#until.delete('silence');
    this.#look();
  }

  /** The server told that this client reads too slowly. */
  slow(): void {
    this.#until.set('slow', this.#now() + this.#limits.holdMs);
    this.#look();
  }

  /** There is no connection; what was measured on it says nothing about the next one. */
  lost(planned: boolean): void {
    this.#unplanned ||= !planned;
    this.#suspect = false;
    this.#until.delete('latency');
    this.#until.delete('silence');
    this.#until.set('lost', FOREVER);
    this.#look();
  }

  opened(): void {
    if (this.#unplanned) this.#until.set('lost', this.#now() + this.#limits.holdMs);
    else this.#until.delete('lost');
    this.#unplanned = false;
    this.#look();
  }

  /** For good. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #look(): void {
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    const now = this.#now();
    for (const [cause, until] of this.#until) if (until <= now) this.#until.delete(cause);
    const next = Math.min(...this.#until.values());
    if (next < FOREVER) this.#timer = setTimeout(() => this.#look(), next - now);
    const causes = CAUSES.filter((cause) => this.#until.has(cause));
    if (String(causes) === String(this.#quality.causes)) return;
    this.#quality = causes.length === 0 ? HEALTHY : { level: 'weak', causes };
    this.#changed(this.#quality);
  }
}

export function qualityLimits(options: QualityOptions = {}): Required<QualityOptions> {
  return {
    weakRttMs: options.weakRttMs ?? DEFAULTS.weakRttMs,
    healthyRttMs: options.healthyRttMs ?? DEFAULTS.healthyRttMs,
    silenceMs: options.silenceMs ?? DEFAULTS.silenceMs,
    holdMs: options.holdMs ?? DEFAULTS.holdMs,
  };
}
