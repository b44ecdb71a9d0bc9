/** A process of the load generator that answers commands: `{ id, command, … }` with `{ id, result }` or `{ id, error }`. */
import { fork } from 'node:child_process';

export class Worker {
  #child;
  #asked = 0;
  #waiting = new Map();

  constructor(url) {
    this.#child = fork(url);
    this.#child.on('message', ({ id, result, error }) => {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    });
    this.#child.on('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`a worker ended with ${code}`));
    });
  }

  run(command, fields = {}) {
    if (!this.#child.connected) return Promise.reject(new Error('a worker has ended'));
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, command, ...fields });
    });
  }

  stop() {
    this.#child.disconnect();
  }
}
