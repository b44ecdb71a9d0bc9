/** A little of everything that the dashboard shows: chat, comings and goings, refusals, slow readers, drops of lines. */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { Pod } from '../chaos/pods.ts';

const READERS = 200;
const ROOMS = 20;
const PUBLISHES_PER_SECOND = 400;

export class Traffic {
  readonly #pods: readonly Pod[];
  readonly #sockets = new Set<WebSocket>();
  #running = true;

  constructor(pods: readonly Pod[]) {
    this.#pods = pods;
  }

  async run(seconds: number): Promise<void> {
    for (let at = 0; at < READERS; at++) await this.#reader(at);
    const tasks = [this.#publish(), this.#comeAndGo(), this.#offend(), this.#read()];
    await sleep(seconds * 1000);
    this.#running = false;
    await Promise.all(tasks);
  }

  close(): void {
    this.#running = false;
    for (const socket of this.#sockets) socket.terminate();
  }

  async #connect(at: number, token?: string): Promise<WebSocket> {
    const pod = this.#pods[at % this.#pods.length] as Pod;
    const bearer = token ?? (await pod.broker.token({ sub: `user-${at}` }));
    const socket = new WebSocket(pod.url, 'chat.v1', { headers: { authorization: `Bearer ${bearer}` } });
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    // A refusal is what some of them are for.
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('open', resolve).once('close', resolve));
    return socket;
  }

  async #reader(at: number): Promise<WebSocket> {
    const socket = await this.#connect(at);
    for (const room of [`room:${at % ROOMS}`, `live:${at % ROOMS}`]) send(socket, { type: 'join', room });
    return socket;
  }

  async #publish(): Promise<void> {
    const sockets = await Promise.all(this.#pods.map((_, at) => this.#connect(1000 + at)));
    const began = performance.now();
    for (let count = 0; this.#running; await sleep(20)) {
      // Slowly up and down, so that there is something to see.
      const seconds = (performance.now() - began) / 1000;
      const rate = PUBLISHES_PER_SECOND * (1 + 0.6 * Math.sin(seconds / 6));
      for (let left = rate / 50; left > 0; left--, count++) {
        const room = `${count % 3 === 0 ? 'live' : 'room'}:${count % ROOMS}`;
        send(sockets[count % sockets.length], { type: 'pub', room, payload: 'x'.repeat(randomInt(20, 300)) });
      }
    }
  }

  async #comeAndGo(): Promise<void> {
    for (let at = READERS; this.#running; at++, await sleep(100)) {
      const socket = await this.#reader(at);
      setTimeout(() => (at % 3 === 0 ? socket.terminate() : socket.close(1000)), randomInt(1000, 8000));
    }
  }

  async #offend(): Promise<void> {
    const socket = await this.#connect(2000);
    for (let at = 0; this.#running; at++, await sleep(250)) {
      send(socket, { type: 'leave', room: 'nowhere' });
      if (at % 2 === 0) send(socket, { type: 'join', room: '@somebody' });
      // Beyond limits.roomsPerConnection.
      send(socket, { type: 'join', room: `room:${at % ROOMS}` });
      if (at % 4 === 0) (await this.#connect(at, 'no-token')).terminate();
    }
  }

  async #read(): Promise<void> {
    const socket = await this.#connect(3000);
    for (let at = 0; this.#running; at++, await sleep(300))
      send(socket, { type: 'history', room: `room:${at % ROOMS}`, limit: 100, id: at });
  }
}

function send(socket: WebSocket | undefined, frame: object): void {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
}
