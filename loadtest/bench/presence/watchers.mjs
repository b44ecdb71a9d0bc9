/** A process of those who watch the room: one per broker reads what it is told, the others count frames; and newcomers. */
import { micros } from '../../support/events.mjs';
import { LoadSocket } from '../../support/socket.mjs';
import { clientFrame, TEXT } from '../../support/wire.mjs';
import { serveCommands } from '../../support/worker.mjs';

/** By pod. */
let readers = [];
let counters = [];

class Watcher {
  /** `[user, 'joined' | 'left', microseconds]`, in order. */
  told = [];
  frames = 0;
  bytes = 0;
  count = 0;
  modes = {};
  /** Its broker dies. */
  dead = false;
  #socket;
  #waiting = [];

  /** @param reads whether it looks into what comes after `joined`. */
  async open({ token, address, room, reads = true }) {
    const begun = performance.now();
    this.#socket = new LoadSocket(
      { ...address, path: '/connect', protocol: 'chat.v1', token },
      {
        closed: (why) => this.dead || console.error(`a watcher: ${why}`),
        frame: (payload) => this.#read(payload),
      },
    );
    this.#socket.walker.wants = true;
    await this.#socket.open();
    const connected = performance.now();
    const answered = this.#next('joined');
    this.#send({ type: 'join', room, presence: true });
    const { mode, members, count, partial, bytes } = await answered;
    const now = performance.now();
    this.#socket.walker.wants = reads;
    return {
      connectMs: connected - begun,
      joinMs: now - connected,
      mode,
      listed: members?.length ?? 0,
      count,
      partial: partial === true,
      bytes,
    };
  }

  /** Frames since the last reset, whether read or not. */
  get walked() {
    return this.#socket.walker.frames;
  }

  reset() {
    this.told = [];
    this.frames = 0;
    this.bytes = 0;
    this.modes = {};
    this.#socket.walker.reset();
  }

  async leave(room) {
    const left = this.#next('left');
    this.#send({ type: 'leave', room });
    await left;
    this.#socket.end();
  }

  #send(frame) {
    this.#socket.send(clientFrame(Buffer.from(JSON.stringify(frame)), TEXT));
  }

  #next(type) {
    return new Promise((resolve) => this.#waiting.push({ type, resolve }));
  }

  #read(payload) {
    const now = micros();
    for (const frame of [JSON.parse(payload)].flat()) {
      if (frame.type === 'presence') this.#presence(frame, payload.length, now);
      if (frame.type === 'error') console.error(`a watcher: ${JSON.stringify(frame)}`);
      const at = this.#waiting.findIndex(({ type }) => type === frame.type);
      if (at >= 0) this.#waiting.splice(at, 1)[0].resolve({ ...frame, bytes: payload.length });
    }
  }

  #presence({ mode, joined = [], left = [], count }, bytes, now) {
    this.frames++;
    this.bytes += bytes;
    this.count = count;
    this.modes[mode] = (this.modes[mode] ?? 0) + 1;
    for (const { user } of joined) this.told.push([user, 'joined', now]);
    for (const user of left) this.told.push([user, 'left', now]);
    this.lastAt = now;
  }
}

serveCommands({
  /** `people[pod]`: the first reads, the others count. What the first ones saw, and how long it took. */
  async open({ people, room }) {
    const firsts = [];
    for (const [pod, [first, ...others]] of people.entries()) {
      readers[pod] = new Watcher();
      firsts.push(await readers[pod].open({ ...first, room }));
      counters[pod] = others.map(() => new Watcher());
      for (const [at, watcher] of counters[pod].entries())
        await watcher.open({ ...others[at], room, reads: false });
    }
    return firsts;
  },

  async newcomer({ person, room }) {
    const watcher = new Watcher();
    const seen = await watcher.open({ ...person, room });
    await watcher.leave(room);
    return seen;
  },

  reset() {
    for (const watcher of [...readers, ...counters.flat()]) watcher.reset();
  },

  /** Of each reader, since the last reset; the least and the most frames that one of the others was sent. */
  told: () =>
    readers.map((reader, pod) => {
      const frames = counters[pod].map((watcher) => watcher.walked);
      return {
        told: reader.told,
        frames: reader.frames,
        bytes: reader.bytes,
        modes: reader.modes,
        count: reader.count,
        lastAt: reader.lastAt,
        others: [Math.min(...frames), Math.max(...frames)],
      };
    }),

  /** The pod is about to die. */
  lose({ pod }) {
    for (const watcher of [readers[pod], ...counters[pod]]) watcher.dead = true;
    readers = readers.filter((_, at) => at !== pod);
    counters = counters.filter((_, at) => at !== pod);
  },
});
