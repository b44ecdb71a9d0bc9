/** Steady durable publishes: some by clients that are restarted around like all others, some to measure the latency. */
import { WebSocket } from 'ws';
import { connect } from '../../dist/client/index.js';
import { Ledger } from '../chaos/ledger.ts';
import { micros } from '../support/events.mjs';

const TICK_MS = 10;
const QUEUE = 100_000;
const PAD = '.'.repeat(80);

export class Traffic {
  ledger = new Ledger('steady');
  #rooms;
  /** By pod: one that stays with it. Its publishes carry their time while the pod is not restarted. */
  #fixed = [];
  /** One that goes where it can, as everybody does. */
  #wandering;
  #timer;
  #sent = 0;
  /** The pod that is restarted now. */
  away;

  static async start({ pods, rooms, rate, token, url, webSocket }) {
    const traffic = new Traffic();
    traffic.#rooms = rooms;
    const publish = { queue: QUEUE };
    for (const [at, pod] of pods.entries())
      traffic.#fixed.push(
        connect(pod.url, { token: await token(`fixed${at}`), webSocket: WebSocket, publish }),
      );
    traffic.#wandering = connect(url, { token: await token('wandering'), webSocket, publish });
    await Promise.all([...traffic.#fixed, traffic.#wandering].map((client) => client.whenOpen()));
    const began = performance.now();
    traffic.#timer = setInterval(() => {
      for (const due = ((performance.now() - began) / 1000) * rate; traffic.#sent < due; ) traffic.#publish();
    }, TICK_MS);
    return traffic;
  }

  #publish() {
    const at = this.#sent++;
    const room = this.#rooms[at % this.#rooms.length];
    const n = this.ledger.publish(room);
    // Of a publisher that is away itself the latency says nothing.
    const fixed = this.#fixed[this.#podFor(at)];
    const stays = at % 2 === 0 && fixed.state.name === 'open';
    const client = stays ? fixed : this.#wandering;
    const payload = { n, ...(stays && { t: micros() / 1000 }), pad: PAD };
    client.publish(room, payload, { msgId: `m${n}` }).then(
      (ack) => this.ledger.acked(n, ack),
      (error) => this.ledger.refused(n, error.code ?? String(error)),
    );
  }

  #podFor(at) {
    const { length } = this.#fixed;
    if (this.away === undefined) return at % length;
    return (this.away + 1 + (at % (length - 1))) % length;
  }

  /** No new ones; waits for the answers to those under way, at most `ms`. */
  async stop(ms) {
    clearInterval(this.#timer);
    const until = performance.now() + ms;
    while (this.ledger.open > 0 && performance.now() < until) await new Promise((go) => setTimeout(go, 50));
  }

  close() {
    clearInterval(this.#timer);
    for (const client of [...this.#fixed, this.#wandering]) client.close();
  }
}
