/** Publishes to one room after the other at a fixed rate and keeps the places that the acks tell. */
import { micros } from './events.mjs';
import { LoadSocket } from './socket.mjs';
import { sleep } from './stats.mjs';
import { clientFrame, TEXT } from './wire.mjs';

const SETTLE_MS = 30_000;

export class Publisher {
  /** Places by room, in order. */
  seqs = new Map();
  #socket;
  #faults = [];
  #sent = 0;
  #acked = 0;
  #run = Math.random().toString(36).slice(2);

  static async open(address) {
    const publisher = new Publisher();
    publisher.#socket = new LoadSocket(
      { ...address, path: '/connect', protocol: 'chat.v1' },
      { closed: (why) => publisher.#faults.push(why), frame: (payload) => publisher.#read(payload) },
    );
    publisher.#socket.walker.wants = true;
    await publisher.#socket.open();
    return publisher;
  }

  /** `count` messages, `rate` a second; resolves when all are acknowledged. */
  async run({ rooms, count, rate, bytes, keys = 50 }) {
    const filler = 'x'.repeat(bytes);
    const started = performance.now();
    const before = this.#sent;
    while (this.#sent - before < count) {
      const due = Math.min(count, Math.floor(((performance.now() - started) * rate) / 1000));
      const frames = [];
      for (; this.#sent - before < due; this.#sent++) {
        const n = this.#sent;
        const head = `{"type":"pub","room":"${rooms[n % rooms.length]}","msgId":"${this.#run}${n}","key":"k${n % keys}"`;
        const text = `${head},"payload":{"t":${micros()},"x":"${filler}"}}`;
        frames.push(clientFrame(Buffer.from(text), TEXT));
      }
      if (frames.length > 0) this.#socket.send(Buffer.concat(frames));
      await sleep(1);
    }
    const seconds = (performance.now() - started) / 1000;
    const until = performance.now() + SETTLE_MS;
    while (this.#acked < this.#sent) {
      if (this.#faults.length > 0) throw new Error(this.#faults[0]);
      if (performance.now() > until) throw new Error(`${this.#acked} of ${this.#sent} acknowledged`);
      await sleep(5);
    }
    return { seconds };
  }

  end() {
    this.#socket.end();
  }

  #read(payload) {
    const message = JSON.parse(payload.toString());
    for (const frame of Array.isArray(message) ? message : [message]) {
      if (frame.type === 'error') this.#faults.push(JSON.stringify(frame));
      if (frame.type !== 'ack') continue;
      this.#acked++;
      const seqs = this.seqs.get(frame.room);
      if (seqs === undefined) this.seqs.set(frame.room, [frame.seq]);
      else seqs.push(frame.seq);
    }
  }
}
