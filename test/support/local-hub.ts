/** A hub and its workers' lines in this process, over real sockets. */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cursors } from '../../src/broker/ports.ts';
import type { StateLimits } from '../../src/broker/settings.ts';
import type { UsageStore } from '../../src/broker/usage.ts';
import { LocalHub, type LocalHubParts } from '../../src/bus/local/hub/hub.ts';
import { HubLine } from '../../src/bus/local/line.ts';
import { MemoryBus } from '../../src/bus/memory/bus.ts';
import { MemoryCluster } from '../../src/bus/memory/cluster.ts';
import { MemoryCursors } from '../../src/bus/memory/cursors.ts';
import { OwnUsage } from '../../src/bus/usage/own.ts';
import { SETTINGS, STATE, STATUS } from '../contract/cluster/subject.ts';
import { QUIET } from './log.ts';

export interface HubSetup {
  readonly clock?: { now(): number };
  readonly epoch?: string;
  readonly limits?: StateLimits;
  /** Of the stores. */
  readonly dir?: string;
  readonly usage?: UsageStore;
  readonly cursors?: Cursors;
  readonly record?: LocalHubParts['record'];
  readonly queueBytes?: number;
}

export class RunningHub {
  readonly bus: MemoryBus;
  readonly hub: LocalHub;
  readonly #queueBytes: number;
  readonly #server: Server;
  readonly #folder: string;
  readonly #arrived: Socket[] = [];

  private constructor(setup: HubSetup, folder: string) {
    const { clock = { now: Date.now }, epoch = 'e1', limits = STATE, queueBytes = 2 ** 26 } = setup;
    this.#folder = folder;
    this.#queueBytes = queueBytes;
    this.bus = new MemoryBus({
      limits: { historyTotalBytes: 2 ** 26, rooms: 1000, dedupeWindowMs: 60_000, dedupeEntries: 10_000 },
      clock,
      epoch,
      log: QUIET,
    });
    const common = { settings: SETTINGS, limits, status: () => STATUS, clock, log: QUIET };
    this.hub = new LocalHub({
      bus: this.bus,
      cursors: setup.cursors ?? new MemoryCursors(1000),
      cluster: new MemoryCluster({ ...common, node: 'hub', incarnation: 'hub', dir: setup.dir }),
      usage: setup.usage ?? new OwnUsage(1000),
      record: setup.record,
      queueBytes,
      clock,
      log: QUIET,
    });
    this.#server = createServer((socket) => {
      this.#arrived.push(socket);
      this.hub.attach(socket);
    });
  }

  static async start(setup: HubSetup = {}): Promise<RunningHub> {
    const folder = await mkdtemp(join(tmpdir(), 'carillon-hub-'));
    const running = new RunningHub(setup, folder);
    await running.hub.start();
    await new Promise<void>((resolve) => running.#server.listen(join(folder, 'hub'), resolve));
    return running;
  }

  async socket(): Promise<Socket> {
    const socket = connect(join(this.#folder, 'hub'));
    await new Promise((resolve) => socket.once('connect', resolve));
    return socket;
  }

  async line(socket?: Socket): Promise<HubLine> {
    const stream = socket ?? (await this.socket());
    return new HubLine({ stream, queueBytes: this.#queueBytes, log: QUIET });
  }

  /** How many have not been cut off. */
  get workers(): number {
    return this.#arrived.filter((socket) => !socket.destroyed).length;
  }

  /** As a crash of its process ends it. */
  kill(): void {
    for (const socket of this.#arrived) socket.destroy();
  }

  async close(): Promise<void> {
    await this.hub.close();
    this.#server.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
