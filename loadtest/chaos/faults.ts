import { setTimeout as sleep } from 'node:timers/promises';
import type { NatsCluster } from '../../test/support/nats/cluster.ts';
import type { NatsServer } from '../../test/support/nats/server.ts';
import type { Rng } from '../../test/support/rng.ts';
import type { Pod } from './pods.ts';
import type { FaultKind } from './timetable.ts';

export interface Stage {
  readonly nats: NatsCluster;
  readonly pods: readonly Pod[];
  readonly streams: readonly string[];
  readonly rng: Rng;
}

const BROKER_AWAY_MS = 2000;
const NODE_AWAY_MS = 3000;
/** An election takes 4 to 9 s. */
const LEADER_AWAY_MS = 8000;
const HANG_MS = 6000;
const ALL_AWAY_MS = 10_000;
const READY_MS = 30_000;

/** Does it, mends it, and resolves with what was hurt when all is up again. */
export async function strike(fault: FaultKind, stage: Stage): Promise<string> {
  const hurt = await DEEDS[fault](stage);
  await Promise.all([stage.nats.up(), ...stage.pods.map((pod) => pod.ready(READY_MS))]);
  return hurt;
}

const DEEDS: Readonly<Record<FaultKind, (stage: Stage) => Promise<string>>> = {
  'broker-kill': async ({ pods, rng }) => {
    const pod = rng.pick(pods);
    await pod.kill();
    await sleep(BROKER_AWAY_MS);
    await pod.start();
    return pod.name;
  },
  'nats-follower': async (stage) => {
    const leaders = await leadersOf(stage);
    const count = ({ name }: NatsServer) => leaders.filter((leader) => leader === name).length;
    const [node] = [...stage.nats.servers].sort((one, other) => count(one) - count(other));
    const led = count(node as NatsServer);
    await away(node as NatsServer, NODE_AWAY_MS);
    return `${node?.name}, leader of ${led} of ${leaders.length} shards`;
  },
  'nats-leader': async (stage) => {
    const leaders = await leadersOf(stage);
    const name = stage.rng.pick(leaders);
    await away(stage.nats.named(name), LEADER_AWAY_MS);
    return `${name}, leader of ${leaders.filter((leader) => leader === name).length} of ${leaders.length} shards`;
  },
  'nats-attached': async ({ nats, rng }) => {
    const attached = await Promise.all(nats.servers.map(brokersAt));
    const node = rng.pick(nats.servers.filter((_, at) => (attached[at] as number) > 0));
    await away(node, NODE_AWAY_MS);
    return `${node.name}, with ${attached[nats.servers.indexOf(node)]} brokers`;
  },
  'nats-hang': async ({ nats, rng }) => {
    const node = rng.pick(nats.servers);
    node.pause();
    await sleep(HANG_MS);
    node.resume();
    return node.name;
  },
  'nats-away': async ({ nats }) => {
    await Promise.all(nats.servers.map((server) => server.kill()));
    await sleep(ALL_AWAY_MS);
    return 'all nodes';
  },
  'lame-duck': async ({ nats, rng }) => {
    const node = rng.pick(nats.servers);
    node.lameDuck();
    const until = Date.now() + READY_MS;
    while (node.running && Date.now() < until) await sleep(100);
    const alone = !node.running;
    await node.kill();
    return `${node.name}, ${alone ? 'gone by itself' : 'killed because somebody stayed'}`;
  },
  rolling: async ({ pods }) => {
    for (const pod of pods) {
      await pod.drain();
      await pod.start();
      await pod.ready(READY_MS);
    }
    return pods.map(({ name }) => name).join(', ');
  },
};

async function away(node: NatsServer, ms: number): Promise<void> {
  await node.kill();
  await sleep(ms);
  await node.start();
}

/** The leader of every shard, once they all have one. */
async function leadersOf({ nats, streams }: Stage): Promise<string[]> {
  for (;;) {
    const page = JSON.stringify(await nats.server(0).monitor('/jsz?streams=true&accounts=true'));
    const leaders = streams.map(
      (stream) => new RegExp(`"name":"${stream}".*?"leader":"(\\w+)"`).exec(page)?.[1],
    );
    if (leaders.every((leader) => leader !== undefined)) return leaders as string[];
    await sleep(100);
  }
}

/** How many brokers have their connection for live events there. */
async function brokersAt(node: NatsServer): Promise<number> {
  const page = await node.monitor('/connz');
  const connections = page['connections'] as readonly { readonly name?: string }[] | undefined;
  return (connections ?? []).filter(({ name }) => /^carillon \S+$/.test(name ?? '')).length;
}
