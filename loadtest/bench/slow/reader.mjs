/** One reader of the bench: reads as its `pace` says, and holds every event and gap against the promises. */
import { eachFrame, micros } from '../../support/events.mjs';
import { LoadSocket } from '../../support/socket.mjs';
import { sleep } from '../../support/stats.mjs';

const LOOK_MS = 20;

export class Reader {
  overflow;
  pace;
  /** The events received, in order. */
  seqs = [];
  /** [from, to] of each. */
  gaps = [];
  faults = [];
  latencies = [];
  epoch;
  position;
  caughtUp = 0;
  /** Times that the server ended the connection, and what it said of it afterwards. */
  closes = [];
  lasts = [];
  #address;
  #room;
  #socket;
  #ticket;
  #paused = false;
  #joined;

  constructor(address, room, { overflow, pace }) {
    this.#address = address;
    this.#room = room;
    this.overflow = overflow;
    this.pace = pace;
  }

  /** Resolves when the room is joined, from where this reader was. */
  async open() {
    const credential = this.#ticket === undefined ? {} : { token: undefined };
    const protocol = this.#ticket === undefined ? 'chat.v1' : `chat.v1, ticket.${this.#ticket}`;
    const joined = new Promise((resolve) => {
      this.#joined = resolve;
    });
    this.#socket = new LoadSocket(
      { ...this.#address, protocol, ...credential },
      { closed: (why) => this.#closed(why), frame: (payload) => this.#read(payload) },
    );
    this.#socket.walker.wants = true;
    await this.#socket.open();
    const since = this.epoch === undefined ? {} : { since: { epoch: this.epoch, seq: this.position } };
    this.#socket.send(JSON.stringify({ type: 'join', room: this.#room, overflow: this.overflow, ...since }));
    await joined;
  }

  /** Stops reading for so long; a connection that was ended meanwhile comes back after it. */
  async stall(ms) {
    this.#pause(true);
    await sleep(ms);
    this.#pause(false);
  }

  /** Reads so many bytes a second at most, for so long. */
  async crawl(bytesPerSecond, ms) {
    const started = performance.now();
    const before = this.#socket.walker.bytes;
    for (let passed = 0; passed < ms; passed = performance.now() - started) {
      if (this.#socket === undefined) return;
      const read = this.#socket.walker.bytes - before;
      this.#pause(read > (passed * bytesPerSecond) / 1000);
      await sleep(LOOK_MS);
    }
    this.#pause(false);
  }

  get lost() {
    return this.#socket === undefined;
  }

  end() {
    this.#socket?.end();
    this.#socket = undefined;
  }

  #pause(on) {
    if (this.#socket === undefined || this.#paused === on) return;
    this.#paused = on;
    if (on) this.#socket.pause();
    else this.#socket.resume();
  }

  #closed(why) {
    this.#socket = undefined;
    this.#paused = false;
    this.closes.push(why);
    if (this.overflow !== 'close') this.faults.push(why);
  }

  #read(payload) {
    const now = micros();
    eachFrame(payload, {
      event: (seq, prev, sentAt) => {
        if (prev !== this.position) this.faults.push(`event ${seq} after ${prev}, at ${this.position}`);
        this.position = seq;
        this.seqs.push(seq);
        if (this.pace === 'fast') this.latencies.push(now - sentAt);
      },
      other: (frame) => this.#other(frame),
    });
  }

  #other(frame) {
    if (frame.type === 'gap') {
      if (frame.from !== this.position) this.faults.push(`gap from ${frame.from}, at ${this.position}`);
      this.gaps.push([frame.from, frame.to]);
      this.position = frame.to;
    } else if (frame.type === 'joined') {
      this.epoch ??= frame.epoch;
      this.position ??= frame.seq;
      this.#joined();
    } else if (frame.type === 'server_info') {
      this.#ticket = frame.ticket;
      if (frame.last !== undefined) this.lasts.push(frame.last.code);
    } else if (frame.type === 'caught_up') {
      this.caughtUp++;
    } else if (frame.type === 'error' || frame.type === 'left') {
      this.faults.push(JSON.stringify(frame));
    }
  }
}
