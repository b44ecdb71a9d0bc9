/** Everything that may break does, under load; then the whole truth is compared with what was promised. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NatsBus } from '../../../src/bus/nats/bus.ts';
import { decodeToken } from '../../../src/bus/nats/subject.ts';
import { natsBus, newPrefix } from '../../support/nats/bus.ts';
import { Checker, readStreams } from '../../support/nats/checker.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import type { NatsServer } from '../../support/nats/server.ts';
import { durable, roomRef } from '../../support/rooms.ts';

const SHARDS = 2;
const POLICY = durable({ count: 100_000 });
const ROOMS = Array.from({ length: 20 }, (_, n) => roomRef(`room-${n}`, POLICY));

class Stage {
  readonly cluster: NatsCluster;
  readonly buses: readonly NatsBus[];
  readonly checker: Checker;
  readonly prefix: string;

  constructor(cluster: NatsCluster, buses: readonly NatsBus[], prefix: string) {
    this.cluster = cluster;
    this.buses = buses;
    this.prefix = prefix;
    this.checker = new Checker(buses, ROOMS);
  }

  static async set(context: TestContext): Promise<Stage> {
    const cluster = await NatsCluster.start(3);
    const prefix = newPrefix();
    const options = {
      prefix,
      shards: SHARDS,
      pingIntervalMs: 500,
      connectTimeoutMs: 1000,
      ackTimeoutMs: 1000,
    };
    // Each is attached to a server of its own, and learns of the others from it.
    const buses = [0, 1].map((at) => natsBus([cluster.server(at).url], { options, policies: [POLICY] }));
    context.after(async () => {
      await Promise.all(buses.map((bus) => bus.close()));
      await cluster.close();
    });
    for (const bus of buses) await bus.start();
    const stage = new Stage(cluster, buses, prefix);
    await stage.checker.subscribe();
    return stage;
  }

  get streams(): string[] {
    return Array.from({ length: SHARDS }, (_, shard) => `${this.prefix.toUpperCase()}_${shard}`);
  }

  async leader(stream: string): Promise<NatsServer> {
    for (;;) {
      for (const server of this.cluster.servers.filter(({ running }) => running)) {
        const page = await server.monitor('/jsz?streams=true&accounts=true').catch(() => ({}));
        const name = JSON.stringify(page).match(new RegExp(`"name":"${stream}".*?"leader":"(\\w+)"`))?.[1];
        if (name !== undefined) return this.cluster.named(name);
      }
      await sleep(50);
    }
  }

  /** Gives the checker's report: no loss, no duplicate, no ack without its message. */
  async verdict(): Promise<{ excused: number; stored: number }> {
    await this.checker.stop(30_000);
    const stored = await readStreams(this.cluster.urls, this.streams, (subject) =>
      decodeToken(subject.split('.').at(-1) ?? ''),
    );
    await this.checker.settle(stored, 10_000);
    const excused = this.checker.verify(stored);
    assert.equal(this.checker.acked.size, this.checker.sent.length, 'every publish is acked in the end');
    const count = [...stored.values()].reduce((sum, events) => sum + events.length, 0);
    return { excused, stored: count };
  }

  report(context: TestContext, excused: number, stored: number): void {
    const { checker } = this;
    const figures = this.buses.map((bus) => bus.health().figures);
    const sum = (name: string) => figures.reduce((total, figure) => total + (figure[name] ?? 0), 0);
    context.diagnostic(
      `${checker.sent.length} sent, ${checker.acked.size} acked, ${stored} stored, ${excused} excused, ` +
        `faults ${JSON.stringify([...checker.faults])}, longest ${Math.round(checker.longestMs)} ms, ${sum('publish_retries')} retries, ` +
        `${sum('publish_duplicates')} duplicates, ${sum('backfill_events')} by back-fill in ${sum('backfills')} reads ` +
        `and ${sum('backfill_sweeps')} sweeps, ${sum('audits')} audits found ${sum('audit_found')}`,
    );
  }
}

function scenario(title: string, act: (stage: Stage) => Promise<void>): void {
  test(title, { timeout: 90_000 }, async (context) => {
    const stage = await Stage.set(context);
    stage.checker.load({ rate: 600, senders: 5 });
    await sleep(500);
    await act(stage);
    await sleep(500);
    const { excused, stored } = await stage.verdict();
    stage.report(context, excused, stored);
    assert.equal(excused, 0, 'nothing is lost to a node');
    for (const bus of stage.buses) {
      const { state, figures } = bus.health();
      assert.equal(state, 'up');
      assert.equal(figures['epoch_changes'], 0, 'no false alarm');
    }
  });
}

// Most of each is waiting for an election or a time-out.
describe('chaos', { concurrency: 3 }, () => {
  scenario('kill -9 of a stream leader', async (stage) => {
    const leader = await stage.leader(stage.streams[0] as string);
    await leader.kill();
    await sleep(7000);
    await leader.start();
    await leader.ready();
  });

  scenario('kill -9 of the server that a node is attached to, then of the other one', async (stage) => {
    for (const at of [0, 1]) {
      const server = stage.cluster.server(at);
      await server.kill();
      await sleep(1500);
      await server.start();
      await server.ready();
      await sleep(1000);
    }
  });

  scenario('a server that hangs for a while', async (stage) => {
    stage.cluster.server(0).pause();
    await sleep(4000);
    stage.cluster.server(0).resume();
    await sleep(2000);
  });

  scenario('all servers away and back', async (stage) => {
    await Promise.all(stage.cluster.servers.map((server) => server.kill()));
    await sleep(3000);
    assert.deepEqual(
      stage.buses.map((bus) => bus.health().state),
      ['down', 'down'],
    );
    await stage.cluster.up();
    await sleep(3000);
  });

  scenario('a server that says goodbye (lame duck)', async (stage) => {
    stage.cluster.server(1).lameDuck();
    await sleep(7000);
    await stage.cluster.server(1).kill();
    await stage.cluster.server(1).start();
    await stage.cluster.server(1).ready();
  });
});
