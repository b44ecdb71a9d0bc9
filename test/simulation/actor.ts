import type { Overflow, Since } from '../../src/protocol/frames.ts';
import type { SimHost } from './host.ts';
import type { Message } from './model/reader.ts';
import { ModelReader } from './model/reader.ts';
import type { ModelSocket } from './socket.ts';
import type { Truth } from './truth.ts';

/** Cursors as their user knows them: the furthest position named so far, by room and epoch. */
export type SeenBy = Map<string, Map<string, number>>;

/** A client of the simulation: what it sends, and the model that reads what it gets. */
export class Actor {
  readonly name: string;
  readonly user: string;
  readonly reader: ModelReader;
  readonly messages: Message[] = [];
  readonly #seen: SeenBy;
  readonly #tell: (line: string) => void;
  socket: ModelSocket | undefined;
  host: SimHost | undefined;
  #ids = 0;

  constructor(
    name: string,
    user: string,
    world: {
      readonly truth: Truth;
      readonly seen: SeenBy;
      readonly met: Map<string, number>;
      readonly tell: (line: string) => void;
    },
  ) {
    this.name = name;
    this.user = user;
    this.reader = new ModelReader(user, world.truth, world.met);
    this.#seen = world.seen;
    this.#tell = world.tell;
  }

  get connected(): boolean {
    return this.socket !== undefined && this.socket.closedWith === undefined;
  }

  connect(host: SimHost, socket: ModelSocket, ticket: string | undefined, exp: number | undefined): void {
    this.lose();
    this.#tell(`${this.name} connects to ${host.name}${ticket === undefined ? '' : ' with its ticket'}`);
    if (!host.admit(socket, this.user, ticket, exp)) {
      this.#tell(`${this.name} is refused`);
      return;
    }
    this.socket = socket;
    this.host = host;
  }

  /** The connection breaks: what was not read is lost. */
  lose(): void {
    this.socket?.end(1006);
    this.socket = undefined;
    this.reader.disconnected();
  }

  /** Reads so many messages, if there are any; a connection that the server has ended is read to its end. */
  read(messages: number): boolean {
    const { socket, reader } = this;
    if (socket === undefined) return false;
    const ended = socket.closedWith;
    reader.wasSlow = socket.wasSlow;
    const frames = socket.take(ended === undefined ? messages : 1e9);
    for (const frame of frames) {
      this.#tell(`  ${this.name} < ${brief(frame)}`);
      reader.read(frame);
    }
    if (ended === undefined) return frames.length > 0;
    this.#tell(`  ${this.name} < close ${ended}`);
    reader.closed(ended);
    this.socket = undefined;
    return true;
  }

  join(room: string, since: Since | undefined, overflow: Overflow | undefined, presence: boolean): void {
    const keeps = since === undefined && room.startsWith('inbox:');
    const cursors = keeps ? this.#seenIn(room) : undefined;
    const frame = { type: 'join', room, since, overflow, presence };
    this.#request(frame, { type: 'join', room, since, overflow, cursors });
  }

  leave(room: string): void {
    this.#request({ type: 'leave', room }, { type: 'leave', room });
  }

  publish(
    messages: readonly Message[],
    fields: { echo: boolean; key: string | undefined; fill: number },
  ): void {
    const frames = messages.map((message) => {
      message.attempts++;
      const { room, msgId, n } = message;
      const { echo, key } = fields;
      const id = ++this.#ids;
      this.reader.requests.set(id, { type: 'pub', room, message, echo, place: this.reader.places.get(room) });
      return { type: 'pub', id, room, msgId, key, echo, payload: { n, fill: 'x'.repeat(fields.fill) } };
    });
    this.#write(frames);
  }

  pass(room: string): void {
    const frame = { type: 'pub', room, ephemeral: true, payload: 'passing' };
    this.#request(frame, { type: 'pub', room, message: undefined, echo: true, place: undefined });
  }

  seen(room: string, seq: number, upTo: number): void {
    const place = this.reader.places.get(room);
    if (place !== undefined) {
      const seen = this.#seenIn(room);
      seen.set(place.epoch, Math.max(seen.get(place.epoch) ?? 0, Math.min(seq, upTo)));
    }
    this.#request({ type: 'seen', rooms: { [room]: seq } }, { type: 'seen', room });
  }

  history(room: string, after: number | undefined, before: number | undefined, limit: number): void {
    const frame = { type: 'history', room, after, before, limit };
    this.#request(frame, { type: 'history', room, after, before, limit });
  }

  refresh(token: string): void {
    this.#request({ type: 'refresh', token }, { type: 'refresh', room: '' });
  }

  #seenIn(room: string): Map<string, number> {
    const key = `${this.user} ${room}`;
    let seen = this.#seen.get(key);
    if (seen === undefined) {
      seen = new Map();
      this.#seen.set(key, seen);
    }
    return seen;
  }

  #request(frame: object, request: Parameters<ModelReader['requests']['set']>[1]): void {
    const id = ++this.#ids;
    this.reader.requests.set(id, request);
    this.#write([{ ...frame, id }]);
  }

  #write(frames: readonly object[]): void {
    // Without the fields that are not there: MessagePack has no undefined that a server would take.
    const clean = frames.map((frame) =>
      Object.fromEntries(Object.entries(frame).filter(([, at]) => at !== undefined)),
    );
    for (const frame of clean) this.#tell(`${this.name} > ${brief(frame)}`);
    this.socket?.write(clean);
  }
}

function brief(frame: object): string {
  return JSON.stringify(frame, (key, value) => {
    if (key === 'fill') return (value as string).length;
    if (['ticket', 'features', 'limits', 'reconnect', 'ts', 'members', 'token'].includes(key))
      return undefined;
    return value;
  });
}
