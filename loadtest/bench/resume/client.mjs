import { eachFrame, micros } from '../../support/events.mjs';
import { LoadSocket } from '../../support/socket.mjs';

/** A client in one room: it knows where it is, and comes back by its ticket from there. */
export class Client {
  faults = [];
  latencies = [];
  position;
  recovered;
  events = 0;
  /** Milliseconds from the join to `caught_up`. */
  caughtUpMs;
  #room;
  #epoch;
  #ticket;
  #token;
  #socket;
  #askedAt = 0;
  #settled;

  constructor(room, token) {
    this.#room = room;
    this.#token = token;
  }

  /** Resolves when it has joined, fresh, or has caught up from where it was. */
  async open(address) {
    const resumes = this.#ticket !== undefined;
    const credential = resumes
      ? { protocol: `chat.v1, ticket.${this.#ticket}` }
      : { protocol: 'chat.v1', token: this.#token };
    const settled = new Promise((resolve, reject) => {
      this.#settled = { resolve, reject, by: resumes ? 'caught_up' : 'joined' };
    });
    this.#socket = new LoadSocket(
      { ...address, path: '/connect', ...credential },
      { closed: (why) => this.#closed(why), frame: (payload) => this.#read(payload) },
    );
    this.#socket.walker.wants = true;
    await this.#socket.open();
    this.#askedAt = performance.now();
    const since = resumes ? { since: { epoch: this.#epoch, seq: this.position } } : {};
    this.#socket.send(JSON.stringify({ type: 'join', room: this.#room, ...since }));
    await settled;
  }

  drop() {
    this.#socket?.end();
    this.#socket = undefined;
  }

  #closed(why) {
    this.#socket = undefined;
    this.#settled.reject(new Error(why));
  }

  #read(payload) {
    const now = micros();
    eachFrame(payload, {
      event: (seq, prev, sentAt) => {
        if (prev !== this.position) this.faults.push(`event ${seq} after ${prev}, at ${this.position}`);
        this.position = seq;
        this.events++;
        this.latencies.push(now - sentAt);
      },
      other: (frame) => this.#other(frame),
    });
  }

  #other(frame) {
    if (frame.type === 'server_info') {
      this.#ticket = frame.ticket;
    } else if (frame.type === 'joined') {
      this.#epoch ??= frame.epoch;
      this.position ??= frame.seq;
      this.recovered = frame.recovered;
    } else if (frame.type === 'caught_up') {
      this.caughtUpMs = performance.now() - this.#askedAt;
    } else if (frame.type === 'gap' || frame.type === 'error' || frame.type === 'left') {
      this.faults.push(JSON.stringify(frame));
      if (frame.type !== 'gap') this.#settled.reject(new Error(JSON.stringify(frame)));
    }
    if (frame.type === this.#settled.by) this.#settled.resolve();
  }
}
