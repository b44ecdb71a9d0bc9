import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { CarillonError, type Client, connect } from '../../src/client/index.ts';
import type { Rng } from '../../test/support/rng.ts';
import type { StoredRoom } from './checker.ts';
import { type Ledger, type Payload, Reception } from './ledger.ts';
import type { Pod } from './pods.ts';

export interface LoadSetup {
  readonly pods: readonly Pod[];
  readonly rooms: readonly string[];
  readonly clients: number;
  readonly publishers: number;
  /** Subscribers of each room. */
  readonly fanout: number;
  /** Messages a second. */
  readonly rate: number;
  readonly rng: Rng;
  readonly ledger: Ledger;
}

const TICK_MS = 10;
const PAD = '.'.repeat(80);
/** Publishes that one client keeps while nothing is acked: the longest outage at the full rate. */
const QUEUE = 200_000;

/** SDK clients on all brokers; each attempt to connect goes to the next broker that is not known to be away. */
export class Load {
  readonly #setup: LoadSetup;
  readonly #webSocket: ReturnType<typeof roundRobin>;
  #subscribers: Client[] = [];
  #publishers: Client[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(setup: LoadSetup) {
    this.#setup = setup;
    this.#webSocket = roundRobin(setup.pods);
  }

  /** Connects everybody and joins every room; from here on every event is owed. */
  async join(): Promise<void> {
    const { rooms, clients, publishers, fanout, ledger } = this.#setup;
    this.#subscribers = await this.#clients('s', clients);
    this.#publishers = await this.#clients('p', publishers);
    const joining: Promise<void>[] = [];
    for (const [at, name] of rooms.entries())
      for (let each = 0; each < fanout; each++) {
        // Neighbours are on different brokers.
        const who = (at * fanout + each) % clients;
        const reception = new Reception(`s${who}`, name);
        ledger.told.push(reception);
        joining.push(subscribe(this.#subscribers[who] as Client, reception, ledger));
      }
    await Promise.all(joining);
  }

  start(): void {
    const { rate } = this.#setup;
    const began = performance.now();
    let count = 0;
    this.#timer = setInterval(() => {
      const due = ((performance.now() - began) / 1000) * rate;
      for (; count < due; count++) this.#publish();
    }, TICK_MS);
  }

  /** No new publishes; waits until those under way are answered, at most `ms`. */
  async stop(ms: number): Promise<void> {
    clearInterval(this.#timer);
    const until = performance.now() + ms;
    while (this.#setup.ledger.open > 0 && performance.now() < until) await sleep(50);
  }

  /** Until everybody is where the store is, or nothing has come for `quietMs`. */
  async settle(stored: ReadonlyMap<string, StoredRoom>, quietMs: number): Promise<void> {
    const { told } = this.#setup.ledger;
    const behind = () => told.some(({ room, last }) => last < (stored.get(room)?.seqs.at(-1) ?? 0));
    const received = () => told.reduce((sum, { seqs }) => sum + seqs.length, 0);
    let count = received();
    let until = performance.now() + quietMs;
    while (behind() && performance.now() < until) {
      await sleep(100);
      const now = received();
      if (now !== count) until = performance.now() + quietMs;
      count = now;
    }
  }

  close(): void {
    clearInterval(this.#timer);
    for (const client of [...this.#subscribers, ...this.#publishers]) client.close();
  }

  async #clients(prefix: string, count: number): Promise<Client[]> {
    const { pods, ledger } = this.#setup;
    const broker = (pods[0] as Pod).broker;
    const clients: Client[] = [];
    for (let at = 0; at < count; at++) {
      const client = connect((pods[0] as Pod).url, {
        token: await broker.token({ sub: `${prefix}${at}` }),
        webSocket: this.#webSocket,
        publish: { queue: QUEUE },
      });
      client.on('reconnect', ({ downMs }) => ledger.reconnected(downMs));
      clients.push(client);
    }
    await Promise.all(clients.map((client) => client.whenOpen()));
    return clients;
  }

  #publish(): void {
    const { rng, rooms, ledger } = this.#setup;
    const client = rng.pick(this.#publishers);
    const room = rng.pick(rooms);
    const n = ledger.publish(room);
    const payload: Payload = { n, pad: PAD };
    client.publish(room, payload, { msgId: `m${n}` }).then(
      (ack) => ledger.acked(n, ack),
      (error: unknown) => ledger.refused(n, error instanceof CarillonError ? error.code : String(error)),
    );
  }
}

async function subscribe(client: Client, reception: Reception, ledger: Ledger): Promise<void> {
  const room = client.join<Payload>(reception.room);
  room.on('joined', ({ epoch, seq }) => {
    if (reception.from < 0) reception.from = seq;
    if (!reception.epochs.includes(epoch)) reception.epochs.push(epoch);
  });
  room.on('event', (event) => ledger.received(reception, event));
  room.on('gap', (gap) => ledger.gap(reception, gap));
  room.on('healed', () => {
    ledger.healed++;
  });
  await room.whenJoined();
}

/** A WebSocket that goes to the next broker each time, as one behind a load balancer does. */
function roundRobin(pods: readonly Pod[]) {
  let turn = 0;
  const next = (): Pod => {
    for (let tried = 0; tried < pods.length; tried++) {
      const pod = pods[turn++ % pods.length] as Pod;
      if (pod.serving) return pod;
    }
    return pods[turn++ % pods.length] as Pod;
  };
  return class extends WebSocket {
    constructor(_url: string, protocols: string[]) {
      super(next().url, protocols, { perMessageDeflate: false });
    }
  };
}
