import type { Env } from '../../../src/bus/nats/env.ts';
import { VOICE } from './bus.ts';

interface Task {
  readonly at: number;
  readonly run: () => void;
  readonly every: number | undefined;
}

/** Time that passes when the test says so. */
export class HandTime {
  time = 0;
  #tasks: Task[] = [];

  readonly env: Env = {
    log: VOICE,
    timers: {
      soon: (run) => void this.#add({ at: this.time, run, every: undefined }),
      after: (ms, run) => this.#add({ at: this.time + ms, run, every: undefined }),
      every: (ms, run) => this.#add({ at: this.time + ms, run, every: ms }),
    },
    now: () => this.time,
    ticks: () => this.time,
    sleep: (ms) =>
      new Promise((resume) => void this.#add({ at: this.time + ms, run: resume, every: undefined })),
    random: () => 1,
  };

  /** Runs what is due up to then, in order. */
  advance(ms: number): void {
    const until = this.time + ms;
    for (;;) {
      const due = this.#tasks.filter(({ at }) => at <= until).sort((one, other) => one.at - other.at)[0];
      if (due === undefined) break;
      this.time = Math.max(this.time, due.at);
      this.#tasks = this.#tasks.filter((task) => task !== due);
      if (due.every !== undefined) this.#add({ ...due, at: due.at + due.every });
      due.run();
    }
    this.time = until;
  }

  #add(task: Task): () => void {
    this.#tasks.push(task);
    return () => {
      this.#tasks = this.#tasks.filter((other) => other !== task);
    };
  }
}
