/**
 * Keeps a load going: at most `window` messages that are not both acknowledged and received, or a fixed rate. All
 * targets are driven by it, so that they see the same load.
 */
import { sleep } from '../../support/stats.mjs';

const SETTLE_MS = 15_000;

export class Flow {
  #send;
  #sent = 0;
  #acked = 0;
  #received = 0;
  #topUp;

  /** `send(from, count)` sends the messages with the numbers `from`, `from + 1`, … */
  constructor(send) {
    this.#send = send;
  }

  get sent() {
    return this.#sent;
  }

  acked(count = 1) {
    this.#acked += count;
    this.#topUp?.();
  }

  /** How many have been received so far. */
  receivedUpTo(count) {
    this.#received = count;
    this.#topUp?.();
  }

  /** Runs one load; resolves when nothing is in flight any more. Throws if something does not arrive. */
  async run({ window, rate, seconds }) {
    this.#sent = this.#acked = this.#received = 0;
    const started = performance.now();
    await (rate === undefined ? this.#saturate(window, seconds) : this.#pace(rate, seconds));
    await this.#settle();
    return { published: this.#sent, seconds: (performance.now() - started) / 1000 };
  }

  #saturate(window, seconds) {
    const until = performance.now() + seconds * 1000;
    return new Promise((resolve) => {
      const topUp = () => {
        if (performance.now() >= until) {
          this.#topUp = undefined;
          clearInterval(ticking);
          resolve();
          return;
        }
        const free = window - (this.#sent - Math.min(this.#acked, this.#received));
        // An eighth at a time: neither message by message nor the whole window in one go.
        if (free >= window / 8) this.#more(free);
      };
      const ticking = setInterval(topUp, 5);
      this.#topUp = topUp;
      topUp();
    });
  }

  async #pace(rate, seconds) {
    const started = performance.now();
    for (let passed = 0; passed < seconds * 1000; passed = performance.now() - started) {
      const due = Math.floor((passed * rate) / 1000) - this.#sent;
      if (due > 0) this.#more(due);
      await sleep(1);
    }
  }

  #more(count) {
    const from = this.#sent;
    this.#sent += count;
    this.#send(from, count);
  }

  async #settle() {
    const until = performance.now() + SETTLE_MS;
    while (this.#acked < this.#sent || this.#received < this.#sent) {
      if (performance.now() > until)
        throw new Error(`${this.#sent} published, ${this.#acked} acknowledged, ${this.#received} received`);
      await sleep(1);
    }
  }
}
