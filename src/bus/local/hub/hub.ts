/**
 * What the workers of one machine have in common where there is no NATS: the embedded bus and its stores, in one
 * process beside them. They come by a stream each; whoever's stream ends is gone.
 */
import type { Socket } from 'node:net';
import type { Cluster, NodeInfo } from '../../../broker/cluster.ts';
import type { Bus, BusHealth, Clock, Cursors, Log } from '../../../broker/ports.ts';
import type { UsageStore } from '../../../broker/usage.ts';
import type { Write } from '../../cluster/replica.ts';
import { type Handlers, Link } from '../link.ts';
import { type FromHub, type FromWorker, roomOf } from '../wire.ts';
import { type Caller, HubCalls, type SessionRecord } from './calls.ts';
import { HubNodes } from './nodes.ts';
import { HubRooms } from './rooms.ts';
import { HubStores } from './stores.ts';
import { Worker } from './worker.ts';

export interface LocalHubParts {
  /** Answers every call before it returns, as the embedded bus does. */
  readonly bus: Bus;
  readonly cursors: Cursors;
  /** Whose stores are everybody's. */
  readonly cluster: Cluster;
  readonly usage: UsageStore;
  readonly record?: (SessionRecord & { start(): Promise<void>; close(): Promise<void> }) | undefined;
  /** What may wait for one worker to read; beyond it, the worker is cut off. Bytes. */
  readonly queueBytes: number;
  readonly clock: Clock;
  readonly log: Log;
}

const SWEEP_MS = 250;

export class LocalHub {
  readonly kind = 'local';
  readonly #parts: LocalHubParts;
  readonly #workers = new Set<Worker>();
  readonly #rooms: HubRooms;
  readonly #nodes = new HubNodes();
  readonly #stores: HubStores;
  readonly #calls: HubCalls;
  #count = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: LocalHubParts) {
    this.#parts = parts;
    const { bus, cursors, cluster, clock, usage, record } = parts;
    this.#rooms = new HubRooms(bus);
    this.#stores = new HubStores({
      cluster,
      clock,
      tell: (...change) => this.#nodes.tellAll('change', ...change),
    });
    const write = (change: Write) => this.#stores.write(change);
    this.#calls = new HubCalls({ bus, cursors, write, usage, record });
  }

  /** Of the bus in it; which rooms are fed to whom, the workers say. */
  health(): BusHealth {
    const { state, detail, figures } = this.#parts.bus.health();
    const { open_rooms: _fed, ...own } = figures;
    return { state, detail, figures: own };
  }

  /** undefined: it keeps no record of sessions. */
  get record(): SessionRecord | undefined {
    return this.#parts.record;
  }

  /** Before the first worker. Throws where what was kept cannot be read. */
  async start(): Promise<void> {
    const { bus, cluster, usage, record } = this.#parts;
    await Promise.all([bus.start(), cluster.start(), usage.start(), record?.start()]);
    this.#stores.start();
    this.#timer = setInterval(() => this.#cutOff(), SWEEP_MS).unref();
  }

  /** A worker's end of a stream; nothing else can come by it. */
  attach(stream: Socket): void {
    const number = ++this.#count;
    const worker: Worker = new Worker(
      number,
      new Link<FromHub, FromWorker>(stream, {
        queueBytes: this.#parts.queueBytes,
        handlers: this.#handlers(() => worker),
        closed: () => this.#gone(worker),
      }),
    );
    this.#workers.add(worker);
    worker.say('welcome', number);
  }

  /** After the workers. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const { link } of [...this.#workers]) link.close();
    const { bus, cluster, usage, record } = this.#parts;
    await Promise.all([bus.close(), cluster.close(), usage.close(), record?.close()]);
  }

  #handlers(worker: () => Worker): Handlers<FromWorker> {
    const { cursors, record } = this.#parts;
    return {
      open: (...of) => this.#rooms.open(worker(), ...of),
      shut: (key) => this.#rooms.shut(worker(), key),
      publish: (...of) => this.#rooms.publish(worker(), ...of),
      cursor: (room, user, cursor) => void cursors.put(roomOf(room), user, cursor),
      call: (id, method, argument) => this.#calls.call(method, argument, caller(worker(), id)),
      join: (info) => this.#join(worker(), info),
      status: (status) => this.#nodes.status(worker(), status),
      bye: () => this.#nodes.leave(worker()),
      tell: (...of) => this.#nodes.tell(worker(), ...of),
      question: (...of) => this.#nodes.ask(worker(), ...of),
      answer: (...of) => this.#nodes.answer(worker(), ...of),
      recorded: (event) => record?.append(event),
      undelivered: (...of) => record?.undelivered(...of),
    };
  }

  #join(worker: Worker, info: NodeInfo): void {
    this.#nodes.join(worker, info);
    const others = this.#nodes.all.filter(({ node }) => node !== info.node);
    worker.say('joined', others, this.#stores.all);
  }

  #gone(worker: Worker): void {
    this.#workers.delete(worker);
    this.#rooms.gone(worker);
    this.#nodes.leave(worker);
    this.#calls.gone(worker.number);
  }

  /** A worker that stands still must not take the others' memory with it. */
  #cutOff(): void {
    for (const { number, link, info } of [...this.#workers]) {
      if (!link.full) continue;
      this.#parts.log.error(
        { worker: info?.node ?? number, bytes: link.queued },
        'a worker does not read: cut off (supervisor.queueBytes)',
      );
      link.cut();
    }
  }
}

function caller({ number, link }: Worker, id: number): Caller {
  return {
    number,
    reply: (value) => link.send('reply', id, value),
    part: (value) => link.send('part', id, value),
  };
}
