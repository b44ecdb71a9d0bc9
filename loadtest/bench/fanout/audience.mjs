/** N subscribers and one publisher of one server: keeps the load going and proves that every event arrived. */
import { cpuSeconds } from '../../support/process.mjs';
import { LoadSocket } from '../../support/socket.mjs';
import { sleep } from '../../support/stats.mjs';
import { DIGITS, MARK, payloadText } from './targets.mjs';

const SETTLE_MS = 15_000;
const OPEN_AT_ONCE = 100;
const MARK_BYTES = Buffer.from(MARK);

export class Audience {
  #sockets = [];
  #publisher;
  #publish;
  #payloadBytes;
  #failure;
  #sent = 0;
  /** Events in the reference subscriber's first k frames, at k. */
  #eventsAt = [0];
  #scheduled = false;
  #onProgress;

  /** Opens everything; resolves when all are subscribed. */
  static async open(target, server, count, payloadBytes) {
    const audience = new Audience();
    audience.#publish = target.publish;
    audience.#payloadBytes = payloadBytes;
    const token = await target.token();
    const address = { ...server.listen, protocol: target.protocol, token };
    for (let at = 0; at < count; at += OPEN_AT_ONCE) {
      const size = Math.min(OPEN_AT_ONCE, count - at);
      const opening = Array.from({ length: size }, () =>
        audience.#subscribe({ ...address, path: target.subscriberPath }, target.join),
      );
      audience.#sockets.push(...(await Promise.all(opening)));
    }
    audience.#becomeSink();
    await audience.#openPublisher({ ...address, path: target.publisherPath });
    return audience;
  }

  get size() {
    return this.#sockets.length;
  }

  close() {
    for (const socket of this.#sockets) socket.end();
    this.#publisher.end();
  }

  /**
   * Publishes for `seconds`, waits until every subscriber has every event, and returns what the server's process
   * spent in between. Nothing is in flight when it starts or ends, so the count is exact.
   */
  async measure(pid, seconds, load) {
    this.#reset();
    const cpu = cpuSeconds(pid);
    const started = performance.now();
    await (load.paced === undefined ? this.#saturate(seconds, load) : this.#pace(seconds, load));
    await this.#settled();
    const wall = (performance.now() - started) / 1000;
    const spent = cpuSeconds(pid) - cpu;
    this.#verify();
    const deliveries = this.#sent * this.size;
    return {
      published: this.#sent,
      deliveries,
      seconds: wall,
      cpuSeconds: spent,
      perCpuSecond: deliveries / spent,
      busy: spent / wall,
      eventsPerFrame: this.#sent / (this.#eventsAt.length - 1),
      bytesPerEvent: this.#sockets[0].walker.bytes / this.#sent,
    };
  }

  /** Tops the window up whenever the slowest subscriber has moved: always work waiting, never an overrun. */
  async #saturate(seconds, { window }) {
    const until = performance.now() + seconds * 1000;
    const topUp = () => {
      const free = window - (this.#sent - this.#deliveredToAll());
      if (free >= window >> 2 && performance.now() < until) this.#send(free);
    };
    this.#onProgress = topUp;
    topUp();
    while (performance.now() < until) {
      await sleep(Math.min(100, until - performance.now() + 1));
      this.#check();
    }
    this.#onProgress = undefined;
  }

  /** A burst leaves when the one before has reached everybody, so that the server never finds two in one turn. */
  async #pace(seconds, { paced }) {
    const until = performance.now() + seconds * 1000;
    while (performance.now() < until) {
      const next = performance.now() + paced.everyMs;
      this.#send(paced.burst);
      await sleep(next - performance.now());
      await this.#settled();
    }
  }

  #send(count) {
    const frames = [];
    for (let i = 0; i < count; i++) frames.push(this.#publish(payloadText(this.#sent++, this.#payloadBytes)));
    this.#publisher.send(Buffer.concat(frames));
  }

  async #settled() {
    const until = performance.now() + SETTLE_MS;
    while (this.#deliveredToAll() < this.#sent) {
      this.#check();
      if (performance.now() > until) {
        throw new Error(`lost: ${this.#sent} published, ${this.#deliveredToAll()} reached everybody`);
      }
      await sleep(1);
    }
  }

  /** All receivers of a server get the same frames, so that equal counts prove equal contents. */
  #verify() {
    const { frames, bytes } = this.#sockets[0].walker;
    for (const { walker } of this.#sockets) {
      if (walker.frames !== frames || walker.bytes !== bytes) {
        throw new Error(
          `a subscriber got ${walker.frames} frames, ${walker.bytes} bytes; another ${frames}, ${bytes}`,
        );
      }
    }
    this.#check();
  }

  #deliveredToAll() {
    let least = Number.POSITIVE_INFINITY;
    for (const { walker } of this.#sockets) if (walker.frames < least) least = walker.frames;
    return this.#eventsAt[Math.min(least, this.#eventsAt.length - 1)];
  }

  #reset() {
    this.#sent = 0;
    this.#eventsAt = [0];
    for (const { walker } of this.#sockets) walker.reset();
  }

  #check() {
    if (this.#failure !== undefined) throw new Error(this.#failure);
  }

  #fail(why) {
    this.#failure ??= why;
  }

  /** One subscriber's frames are read: how many events they hold, that none is missing, twice, or out of order. */
  #reference(payload) {
    let events = this.#eventsAt[this.#eventsAt.length - 1];
    for (let at = payload.indexOf(MARK_BYTES); at >= 0; at = payload.indexOf(MARK_BYTES, at + 1)) {
      const digits = at + MARK.length;
      const number = Number(payload.toString('latin1', digits, digits + DIGITS));
      if (number !== events) this.#fail(`expected event ${events}, got ${number}`);
      events++;
    }
    this.#eventsAt.push(events);
  }

  /** One look at everybody's progress per loop turn, after all sockets of the turn have been read. */
  #progress = () => {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#onProgress?.();
    });
  };

  async #subscribe(address, join) {
    let joined = join === undefined;
    let done;
    const waiting = new Promise((resolve, reject) => {
      done = { resolve, reject };
    });
    const socket = new LoadSocket(address, {
      closed: (why) => {
        done.reject(new Error(why));
        this.#fail(`subscriber ${why}`);
      },
      activity: this.#progress,
      frame: (payload) => {
        if (joined) return;
        const text = payload.toString('latin1');
        if (text.includes('error')) done.reject(new Error(`join refused: ${text}`));
        if (!text.includes('joined')) return;
        joined = true;
        done.resolve();
      },
    });
    socket.walker.wants = !joined;
    await socket.open();
    if (join === undefined) return socket;
    socket.send(join);
    await waiting;
    return socket;
  }

  #becomeSink() {
    for (const socket of this.#sockets) socket.walker.wants = false;
    const first = this.#sockets[0];
    first.walker.wants = true;
    first.onFrame((payload) => this.#reference(payload));
  }

  async #openPublisher(address) {
    this.#publisher = new LoadSocket(address, {
      closed: (why) => this.#fail(`publisher ${why}`),
      frame: (payload) => {
        const text = payload.toString('latin1');
        if (text.includes('error')) this.#fail(`publish refused: ${text}`);
      },
    });
    this.#publisher.walker.wants = true;
    await this.#publisher.open();
  }
}
