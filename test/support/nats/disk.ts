import { cp, rm } from 'node:fs/promises';
import type { NatsCluster } from './cluster.ts';

const copyOf = (dir: string) => `${dir}-copy`;

/** Copies the disks of these servers, as a snapshot of their volumes does; they are away meanwhile. */
export async function snapshot(cluster: NatsCluster, servers = cluster.servers): Promise<void> {
  await Promise.all(servers.map((server) => server.kill()));
  for (const { dir } of servers) {
    await rm(copyOf(dir), { recursive: true, force: true });
    await cp(dir, copyOf(dir), { recursive: true });
  }
  await cluster.up();
}

/** They die, and come back with the disks of the last `snapshot`. */
export async function putBack(cluster: NatsCluster, servers = cluster.servers): Promise<void> {
  await Promise.all(servers.map((server) => server.kill()));
  for (const { dir } of servers) {
    await rm(dir, { recursive: true });
    await cp(copyOf(dir), dir, { recursive: true });
  }
  await cluster.up();
}
