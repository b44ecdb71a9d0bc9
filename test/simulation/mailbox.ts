import type { Rng } from '../support/rng.ts';

/** What is under way between nodes and store: in order within a queue, in any order between queues. */
export class Mailbox {
  readonly #queues = new Map<string, (() => void)[]>();
  /** Called after each `post`. */
  onPost: () => void = () => {};

  post(queue: string, task: () => void): void {
    const waiting = this.#queues.get(queue);
    if (waiting === undefined) this.#queues.set(queue, [task]);
    else waiting.push(task);
    this.onPost();
  }

  get empty(): boolean {
    return this.#queues.size === 0;
  }

  /** Runs the head of some queue. false: there was none. */
  runOne(rng: Rng): boolean {
    if (this.#queues.size === 0) return false;
    let skip = rng.below(this.#queues.size);
    for (const [name, tasks] of this.#queues) {
      if (skip-- > 0) continue;
      const task = tasks.shift();
      if (tasks.length === 0) this.#queues.delete(name);
      task?.();
      return true;
    }
    return false;
  }
}
