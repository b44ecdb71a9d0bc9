import { Queue } from './queue.ts';

/**
 * Runs tasks one after the other: one that is given while another runs waits for its end. So a sink that publishes
 * from within its `event` is not called again before it is through with that event. A task must not throw.
 */
export class Turns {
  #running = false;
  readonly #waiting = new Queue<() => void>();

  run(task: () => void): void {
    if (this.#running) {
      this.#waiting.push(task);
      return;
    }
    this.#running = true;
    task();
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) next();
    this.#running = false;
  }
}
