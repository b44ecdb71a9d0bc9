import { cp, rm } from 'node:fs/promises';
import type { NatsCluster } from './cluster.ts';

const copyOf = (dir: string) => `${dir}-copy`;

async function down(cluster: NatsCluster): Promise<void> {
  await Promise.all(cluster.servers.map((server) => server.kill()));
}

/** Copies the disks of all servers, as a snapshot of their volumes does; they are away meanwhile. */
export async function snapshot(cluster: NatsCluster): Promise<void> {
  await down(cluster);
  for (const { dir } of cluster.servers) {
    await rm(copyOf(dir), { recursive: true, force: true });
    await cp(dir, copyOf(dir), { recursive: true });
  }
  await cluster.up();
}

/** All servers die, and come back with the disks of the last `snapshot`. */
export async function putBack(cluster: NatsCluster): Promise<void> {
  await down(cluster);
  for (const { dir } of cluster.servers) {
    await rm(dir, { recursive: true });
    await cp(copyOf(dir), dir, { recursive: true });
  }
  await cluster.up();
}
