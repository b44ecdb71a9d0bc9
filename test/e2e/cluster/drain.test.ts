/** Brokers that go away while clients publish: paced by what the others tell, nothing lost, in time. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { type Client, connect, type RoomEvent } from '../../../src/client/index.ts';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { metrics } from '../conformance/client.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const TOKEN = 'an-admin-token-that-only-this-test-uses';
const ROOMS = Array.from({ length: 4 }, (_, at) => `drain:${at}`);

interface Member {
  readonly client: Client;
  readonly seqs: number[];
  readonly faults: string[];
  readonly sessions: Set<string>;
  readonly codes: string[];
}

describe('drains of one installation', { timeout: 120_000 }, () => {
  const brokers: RunningBroker[] = [];
  const gone = new Set<RunningBroker>();
  const members: Member[] = [];
  let nats: NatsCluster;

  before(async () => {
    nats = await NatsCluster.start(1);
  });

  after(async () => {
    for (const { client } of members) client.close();
    await Promise.all(brokers.map((broker) => broker.kill()));
    await nats?.close();
  });

  async function start(serverId: string, drain: object): Promise<RunningBroker> {
    const config = {
      node: { serverId },
      nats: { url: nats.urls, shards: 2, streamBytes: '64MiB' },
      cluster: { heartbeatMs: '500ms' },
      presence: { graceMs: '300ms', drainGraceMs: '300ms' },
      drain: { loopLagMs: '2s', ...drain },
    };
    const broker = await startBroker({ env: { CARILLON_ADMIN_TOKEN: TOKEN }, config });
    brokers.push(broker);
    return broker;
  }

  /** First to `home`, then to whichever of the others goes on, in turn, as behind a balancer. */
  async function member(home: RunningBroker, others: readonly RunningBroker[], at: number): Promise<Member> {
    let turn = at;
    let first = true;
    class Balanced extends WebSocket {
      constructor(_url: string, protocols: string[]) {
        const there = others.filter((broker) => !gone.has(broker));
        const target = first ? home : (there[turn++ % there.length] as RunningBroker);
        super(target.url, protocols);
        first = false;
      }
    }
    const token = await home.token({ sub: `user-${members.length}` });
    const client = connect(home.url, { token, webSocket: Balanced, reconnect: { minMs: 50, maxMs: 500 } });
    const made: Member = { client, seqs: [], faults: [], sessions: new Set(), codes: [] };
    members.push(made);
    client.on('error', ({ code }) => made.codes.push(code));
    client.on('state', () => {
      const session = client.session;
      if (session !== undefined) made.sessions.add(session);
    });
    const room = client.join(ROOMS[at % ROOMS.length] as string);
    room.on('event', ({ seq = 0, prev }: RoomEvent) => {
      const last = made.seqs.at(-1);
      if (last !== undefined && prev !== last) made.faults.push(`${seq} behind ${prev}, at ${last}`);
      made.seqs.push(seq);
    });
    room.on('gap', (gap) => made.faults.push(JSON.stringify(gap)));
    await room.whenJoined();
    return made;
  }

  async function fill(
    home: RunningBroker,
    others: readonly RunningBroker[],
    count: number,
  ): Promise<Member[]> {
    const made: Member[] = [];
    for (let at = 0; at < count; at += 25)
      made.push(
        ...(await Promise.all(
          Array.from({ length: Math.min(25, count - at) }, (_, n) => member(home, others, at + n)),
        )),
      );
    return made;
  }

  /** Publishes until it is stopped; every one has its ack. */
  function traffic(publishers: readonly Client[]) {
    let over = false;
    let acked = 0;
    const running = publishers.map(async (client, at) => {
      for (let n = 0; !over; n++) {
        await client.publish(ROOMS[(at + n) % ROOMS.length] as string, { at, n });
        acked++;
        await sleep(5);
      }
    });
    return {
      stop: async () => {
        over = true;
        await Promise.all(running);
        return acked;
      },
    };
  }

  /** All of a room's members have the same, without a hole. */
  async function whole(of: readonly Member[]): Promise<void> {
    const last = ROOMS.map((_, room) => Math.max(...of.filter((_m, at) => at % 4 === room).map(lastOf)));
    const behind = () => of.filter((one, at) => lastOf(one) < (last[at % 4] ?? 0));
    for (let n = 0; n < 200 && behind().length > 0; n++) await sleep(50);
    for (const { faults } of of) assert.deepEqual(faults, []);
    assert.equal(behind().length, 0);
  }

  test('C4.10.1 one of three, under durable traffic: nothing is lost, all resume elsewhere, no faster than the others take', async () => {
    const pace = { perSecond: 60, windowMs: '1s', deadlineMs: '20s' };
    const all = await Promise.all(['pod-1', 'pod-2', 'pod-3'].map((id) => start(id, pace)));
    const [a, b, c] = all as [RunningBroker, RunningBroker, RunningBroker];
    const leaving = await fill(a, all, 200);
    const staying = await fill(b, all, 40);
    const { stop } = traffic([...leaving.slice(0, 4), ...staying.slice(0, 4)].map(({ client }) => client));

    gone.add(a);
    const lines: string[] = [];
    const cli = spawn(process.execPath, [...program(), 'drain', '--admin', a.adminUrl, '--wait'], {
      cwd: ROOT,
      env: { ...process.env, CARILLON_ADMIN_TOKEN: TOKEN },
    });
    cli.stdout.setEncoding('utf8').on('data', (text: string) => lines.push(...text.trim().split('\n')));
    while (!lines.some((line) => line.includes('left, '))) await sleep(20);
    assert.equal((await fetch(`${a.adminUrl}/readyz`)).status, 503);
    await assert.rejects(fetch(a.httpUrl));
    const during = await metrics(a);
    assert.equal(during.get('carillon_drain_survivors'), 2);
    const speed = during.get('carillon_drain_connections_per_second') ?? 0;
    assert.ok(speed > 0 && speed <= 120, `${speed}`);
    const [code] = await once(cli, 'exit');
    assert.equal(code, 0, lines.join('\n'));
    assert.match(
      lines.join('\n'),
      /draining: pod-1\n.*left, .*\/s to 2 nodes, limit: [\s\S]*done: 200 of 200 sent away/,
    );
    await Promise.all(leaving.map(({ client }) => client.whenOpen()));
    const acked = await stop();
    await whole([...leaving, ...staying]);
    assert.ok(acked > 200, `${acked}`);
    for (const { sessions, codes } of leaving) {
      assert.equal(sessions.size, 1, 'the ticket continues the session');
      assert.deepEqual(codes, ['drain']);
    }
    // Still there, and ends at once: nobody is left.
    const from = performance.now();
    assert.deepEqual(await a.stop(), { code: 0, signal: null });
    assert.ok(performance.now() - from < 3000);
    const told = a.logs.filter((line) => line.includes('"drain: '));
    assert.ok(told.length >= 2, 'begun and over');

    // Two at once, of the three that are there again: the third takes half of its rate from each.
    const d = await start('pod-4', { ...pace, perSecond: 40 });
    all.push(d);
    const both = [await fill(b, [d], 20), await fill(c, [d], 20)].flat();
    gone.add(b).add(c);
    const exits = [b, c].map((broker) => broker.stop());
    await sleep(1200);
    const speeds = await Promise.all(
      [b, c].map(async (broker) => (await metrics(broker)).get('carillon_drain_connections_per_second') ?? 0),
    );
    assert.ok(
      speeds.every((one) => one <= 20),
      `${speeds}`,
    );
    for (const exit of await Promise.all(exits)) assert.deepEqual(exit, { code: 0, signal: null });
    await Promise.all([...leaving, ...staying, ...both].map(({ client }) => client.whenOpen()));
    await whole([...leaving, ...staying]);
  });

  test('C4.10.2 the deadline: whoever has no slot is closed with 4100 and comes back by its ticket', async () => {
    gone.clear();
    const late = await start('late-1', { perSecond: 500, windowMs: '500ms', deadlineMs: '2s' });
    // Takes all but nobody: which is what its heartbeats say.
    const slow = await start('late-2', { perSecond: 1 });
    for (const broker of brokers) if (broker !== late && broker !== slow) gone.add(broker);
    await Promise.all([...gone].map((broker) => broker.kill()));
    const clients = await fill(late, [slow], 40);
    gone.add(late);
    const from = performance.now();
    assert.deepEqual(await late.stop(), { code: 0, signal: null });
    const tookMs = performance.now() - from;
    assert.ok(tookMs > 1000 && tookMs < 4500, `${tookMs}`);
    await Promise.all(clients.map(({ client }) => client.whenOpen()));
    const codes = clients.flatMap((one) => one.codes);
    assert.ok(codes.filter((code) => code === 'overloaded').length >= 30, codes.join(' '));
    for (const { sessions } of clients) assert.equal(sessions.size, 1);
  });

  test('the command is refused in words', async () => {
    const running = brokers.at(-1) as RunningBroker;
    const refused = async (...args: string[]) => {
      const cli = spawn(process.execPath, [...program(), 'drain', ...args], { cwd: ROOT });
      let text = '';
      cli.stderr.setEncoding('utf8').on('data', (more: string) => {
        text += more;
      });
      const [code] = await once(cli, 'close');
      return [code, text] as const;
    };
    const [wrong, why] = await refused('--admin', running.adminUrl, '--admin-token', 'wrong');
    assert.equal(wrong, 1);
    assert.match(why, /answered 401/);
    assert.deepEqual((await refused('--deadline', 'soon'))[0], 64);
    assert.match((await refused('--admin', 'http://127.0.0.1:1'))[1], /does not answer/);
  });
});

function lastOf({ seqs }: Member): number {
  return seqs.at(-1) ?? 0;
}

function program(): string[] {
  return ['dist/cli.js'];
}
