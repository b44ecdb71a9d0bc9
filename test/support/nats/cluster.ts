import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from '../port.ts';
import { CURRENT, natsServer, type Wanted } from './provide.ts';
import { NatsServer, type ServerSetup } from './server.ts';

export interface ClusterSetup {
  readonly wanted?: Wanted;
  readonly extra?: string;
  readonly jetstream?: boolean;
}

/** One nats-server, or several as a cluster, with their own store in a temporary folder. */
export class NatsCluster {
  readonly servers: readonly NatsServer[];
  readonly #dir: string;

  private constructor(servers: readonly NatsServer[], dir: string) {
    this.servers = servers;
    this.#dir = dir;
  }

  static async start(size: 1 | 3, setup: ClusterSetup = {}): Promise<NatsCluster> {
    const { path } = await natsServer(setup.wanted ?? CURRENT);
    const dir = await mkdtemp(join(tmpdir(), 'carillon-nats-'));
    for (let attempt = 1; ; attempt++) {
      const cluster = new NatsCluster(await servers(size, path, dir, setup), dir);
      try {
        await cluster.up();
        return cluster;
      } catch (error) {
        await cluster.close();
        // Somebody else took a port between the look and the start.
        const portTaken = cluster.servers.some(({ log }) => log.includes('address already in use'));
        if (!portTaken || attempt === 3) throw error;
      }
    }
  }

  get urls(): string[] {
    return this.servers.map(({ url }) => url);
  }

  server(at: number): NatsServer {
    const server = this.servers[at];
    if (server === undefined) throw new RangeError(`no server ${at}`);
    return server;
  }

  named(name: string): NatsServer {
    const server = this.servers.find((candidate) => candidate.name === name);
    if (server === undefined) throw new RangeError(`no server ${name}`);
    return server;
  }

  /** Starts what does not run and waits until all of it can be used. */
  async up(): Promise<void> {
    await Promise.all(this.servers.filter(({ running }) => !running).map((server) => server.start()));
    await Promise.all(this.servers.map((server) => server.ready()));
    if (this.servers.length > 1) await this.#metaLeader();
  }

  async close(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #metaLeader(): Promise<void> {
    const until = Date.now() + 20_000;
    while (Date.now() < until) {
      const page = await this.server(0).monitor('/jsz');
      const meta = page['meta_cluster'] as { leader?: string; cluster_size?: number } | undefined;
      if (meta?.leader && meta.cluster_size === this.servers.length) return;
      await sleep(50);
    }
    throw new Error('the cluster has no JetStream leader after 20 s');
  }
}

async function servers(
  size: number,
  binary: string,
  dir: string,
  setup: ClusterSetup,
): Promise<NatsServer[]> {
  const ports = await freePorts(size * 3);
  const routes = ports.slice(2 * size).map((port) => `"nats://127.0.0.1:${port}"`);
  return Array.from({ length: size }, (_, at) => {
    const name = `n${at + 1}`;
    const cluster = `cluster { name: test, listen: "127.0.0.1:${ports[2 * size + at]}", routes: [${routes.join(', ')}] }`;
    const server: ServerSetup = {
      binary,
      name,
      dir: join(dir, name),
      port: ports[at] as number,
      monitorPort: ports[size + at] as number,
      ...(size > 1 && { cluster }),
      ...(setup.extra !== undefined && { extra: setup.extra }),
      ...(setup.jetstream !== undefined && { jetstream: setup.jetstream }),
    };
    return new NatsServer(server);
  });
}
