export interface BackoffSettings {
  readonly restartMinMs: number;
  readonly restartMaxMs: number;
  readonly healthyMs: number;
}

/** The pauses before a worker is started again. There is always a next one: nothing is given up. */
export class Backoff {
  readonly #settings: BackoffSettings;
  readonly #random: () => number;
  #failures = 0;

  constructor(settings: BackoffSettings, random: () => number) {
    this.#settings = settings;
    this.#random = random;
  }

  /** @param servedMs how long the worker has served */
  pauseMs(servedMs: number): number {
    const { restartMinMs, restartMaxMs, healthyMs } = this.#settings;
    if (servedMs >= healthyMs) this.#failures = 0;
    const whole = Math.min(restartMaxMs, restartMinMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return whole * (1 - this.#random() / 2);
  }
}
