/** Whole nodes without sockets, that hear of one another over a real NATS server. */
import { setTimeout as sleep } from 'node:timers/promises';
import { SETTINGS } from '../../contract/cluster/subject.ts';
import { newPrefix } from '../../support/nats/bus.ts';
import type { NatsCluster } from '../../support/nats/cluster.ts';
import { startNode, type TestNode } from '../../support/nats/nodes.ts';
import { SimNode, type SimOptions } from '../../support/sim.ts';

/** On a busy machine nobody is to be taken for dead. */
const PATIENT = { ...SETTINGS, heartbeatMs: 1000 };

export interface Joined extends TestNode {
  readonly sim: SimNode;
}

/** Named n0, n1, …; their clocks stand still at the same time. */
export async function nodes(nats: NatsCluster, count: number, options: SimOptions = {}): Promise<Joined[]> {
  const prefix = newPrefix();
  const made: Joined[] = [];
  for (let at = 0; at < count; at++) {
    const node = await startNode(nats.urls, { options: { prefix }, node: `n${at}`, settings: PATIENT });
    made.push({ ...node, sim: new SimNode({ ...options, cluster: node.cluster, serverId: `n${at}` }) });
  }
  await until(() => made.every(({ cluster }) => cluster.nodes().length === count));
  // Behind the subscriptions of the same connections: the server knows these when the answers are there.
  await heard(made);
  return made;
}

export async function until(holds: () => boolean, ms = 10_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${holds}`);
    await sleep(5);
  }
}

/** Whatever was told by now has arrived. */
export async function heard(all: readonly Joined[]): Promise<void> {
  for (const { sim } of all) sim.turn();
  for (const { cluster } of all)
    await cluster.ask('sessions.count', { tenant: '-', user: '-', stamp: 0 }, 10_000);
}
