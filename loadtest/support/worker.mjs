/** A process of the load generator that answers commands: `{ id, command, … }` with `{ id, result }` or `{ id, error }`. */
import { fork } from 'node:child_process';
import { once } from 'node:events';

export class Worker {
  #child;
  #asked = 0;
  #waiting = new Map();
  #ended;

  constructor(url) {
    this.#child = fork(url);
    this.#child.on('message', ({ id, result, error }) => {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    });
    this.#ended = once(this.#child, 'exit').then(([code]) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`a worker ended with ${code}`));
    });
  }

  get pid() {
    return this.#child.pid;
  }

  run(command, fields = {}) {
    if (!this.#child.connected) return Promise.reject(new Error('a worker has ended'));
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, command, ...fields });
    });
  }

  /** Resolves when it has ended. */
  async stop() {
    if (this.#child.connected) this.#child.disconnect();
    await this.#ended;
  }
}

/** In the process itself: answers commands by these functions, and ends with its parent. */
export function serveCommands(commands) {
  process.on('message', async ({ id, command, ...fields }) => {
    try {
      process.send({ id, result: await commands[command](fields) });
    } catch (error) {
      process.send({ id, error: error.stack });
    }
  });
  process.on('disconnect', () => process.exit());
}
