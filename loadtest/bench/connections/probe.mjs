/** Looks into a running Node process through its inspector: memory as it stands, and after a full collection. */
import { WebSocket } from 'ws';
import { sleep } from '../../support/stats.mjs';

/** Time for V8 to hand freed pages back to the system. */
const SETTLE_MS = 1000;
const EXPRESSION = 'JSON.stringify(process.memoryUsage())';

export class MemoryProbe {
  #socket;
  #id = 0;
  #waiting = new Map();

  /** The server has to run with `--inspect=127.0.0.1:0`; its address stands in the first lines of its output. */
  static async attach(server) {
    const line = server.tail.find((text) => text.includes('Debugger listening on '));
    if (line === undefined) throw new Error(`no inspector in the output of ${server.name}`);
    const probe = new MemoryProbe();
    probe.#socket = new WebSocket(line.split('Debugger listening on ')[1], { perMessageDeflate: false });
    await new Promise((resolve, reject) => {
      probe.#socket.once('open', resolve).once('error', reject);
    });
    probe.#socket.on('message', (data) => {
      const { id, result, error } = JSON.parse(data.toString());
      const { resolve, reject } = probe.#waiting.get(id);
      probe.#waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error.message));
    });
    return probe;
  }

  /** Bytes: `rss` as the system saw it before the collection, everything else after it. */
  async read() {
    const before = await this.#usage();
    await this.#call('HeapProfiler.collectGarbage');
    await sleep(SETTLE_MS);
    await this.#call('HeapProfiler.collectGarbage');
    const { rss, heapUsed, external } = await this.#usage();
    return { rss: before.rss, rssCollected: rss, heapUsed, external };
  }

  close() {
    this.#socket.close();
  }

  async #usage() {
    const { result } = await this.#call('Runtime.evaluate', { expression: EXPRESSION });
    return JSON.parse(result.value);
  }

  #call(method, params = {}) {
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }
}
