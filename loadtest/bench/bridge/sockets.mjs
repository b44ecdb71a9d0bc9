/** The clients of the brokers: one publisher, and as many receivers as the limit of rooms per connection asks for. */
import { LoadSocket } from '../../support/socket.mjs';
import { clientFrame, TEXT } from '../../support/wire.mjs';
import { Flow } from './flow.mjs';
import { eachMessage, micros, payloadText } from './payload.mjs';

const ROOMS_EACH = 1000;
const BATCH = 200;
const ACK = Buffer.from('"ack"');
const ERROR = Buffer.from('"error"');

export class Sockets {
  #rooms;
  #payloadBytes;
  #publisher;
  #receivers = [];
  #failure;
  #run = 0;
  #received = 0;
  #lastOf;
  #latencies = [];
  #flow = new Flow((from, count) => this.#publish(from, count));

  /** Resolves when all rooms are joined at `to`. */
  static async open({ from, to, token, rooms, payloadBytes }) {
    const sockets = new Sockets();
    sockets.#rooms = rooms;
    sockets.#payloadBytes = payloadBytes;
    const address = { path: '/connect', protocol: 'chat.v1', token };
    for (let at = 0; at < rooms.length; at += ROOMS_EACH)
      await sockets.#receiver({ ...to, ...address }, rooms.slice(at, at + ROOMS_EACH));
    await sockets.#openPublisher({ ...from, ...address });
    return sockets;
  }

  /** Publishes to all rooms in turn; every message has to be acknowledged and to arrive once, in its room's order. */
  async run(load) {
    this.#run++;
    this.#received = 0;
    this.#latencies = [];
    this.#lastOf = this.#rooms.map((_, at) => at - this.#rooms.length);
    const result = await this.#flow.run(load);
    if (this.#failure !== undefined) throw new Error(this.#failure);
    return { ...result, latencies: this.#latencies };
  }

  close() {
    for (const socket of [this.#publisher, ...this.#receivers]) socket.end();
  }

  #publish(from, count) {
    const frames = [];
    for (let number = from; number < from + count; number++) {
      const room = this.#rooms[number % this.#rooms.length];
      const payload = payloadText(number, this.#payloadBytes);
      const text = `{"type":"pub","room":"${room}","msgId":"${this.#run}-${number}","payload":${payload}}`;
      frames.push(clientFrame(Buffer.from(text), TEXT));
    }
    this.#publisher.send(Buffer.concat(frames));
  }

  #arrived(bytes) {
    const now = micros();
    eachMessage(bytes, (number, sentAt) => {
      const room = number % this.#rooms.length;
      const wanted = this.#lastOf[room] + this.#rooms.length;
      if (number !== wanted) this.#failure ??= `in room ${room} came ${number}, expected ${wanted}`;
      this.#lastOf[room] = number;
      this.#received++;
      this.#latencies.push(now - sentAt);
    });
    this.#flow.receivedUpTo(this.#received);
  }

  async #receiver(address, rooms) {
    let waiting = rooms.length;
    let joined;
    const done = new Promise((resolve, reject) => {
      joined = { resolve, reject };
    });
    const socket = this.#socket(address, 'receiver', (payload) => {
      const text = payload.toString('latin1');
      if (text.includes('"error"')) joined.reject(new Error(text));
      waiting -= text.split('"type":"joined"').length - 1;
      if (waiting === 0) joined.resolve();
    });
    await socket.open();
    for (let at = 0; at < rooms.length; at += BATCH) {
      const batch = rooms.slice(at, at + BATCH).map((room) => ({ type: 'join', room }));
      socket.send(JSON.stringify(batch));
    }
    await done;
    socket.onFrame((payload) => this.#arrived(payload));
    this.#receivers.push(socket);
  }

  async #openPublisher(address) {
    this.#publisher = this.#socket(address, 'publisher', (payload) => {
      if (payload.includes(ERROR)) this.#failure ??= `publish refused: ${payload}`;
      let acks = 0;
      for (let at = payload.indexOf(ACK); at >= 0; at = payload.indexOf(ACK, at + 1)) acks++;
      this.#flow.acked(acks);
    });
    await this.#publisher.open();
  }

  #socket(address, name, frame) {
    const closed = (why) => {
      this.#failure ??= `${name} ${why}`;
    };
    const socket = new LoadSocket(address, { closed, frame });
    socket.walker.wants = true;
    return socket;
  }
}
