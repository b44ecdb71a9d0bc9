/** How a broker of several processes begins and ends. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { startBroker } from '../../support/broker.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { fresh, metrics, settled } from '../conformance/client.ts';
import { ADMIN_TOKEN, admin, connectTo, natsOf, pidOf, readiness } from './support.ts';

interface Progress {
  readonly nodes: readonly string[];
  readonly state: string;
  readonly total: number;
  readonly left: number;
}

let nats: NatsCluster;

before(async () => {
  nats = await NatsCluster.start(1);
});
after(() => nats.close());

/** Two workers of an installation of their own. */
function twoWorkers(): { workers: number; nats: object; drain: object } {
  return {
    workers: 2,
    nats: { ...natsOf(nats), prefix: fresh('ends') },
    drain: { windowMs: 500, deadlineMs: 5000 },
  };
}

function gone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return true;
    throw error;
  }
}

test('SIGTERM to one worker renews that one; to the whole group it sends all clients away and ends with 0', async () => {
  const broker = await startBroker({ config: { ...twoWorkers(), supervisor: { restartMinMs: 50 } } });
  const before = pidOf(broker, 2);
  process.kill(before, 'SIGTERM');
  await settled(() => assert.notEqual(pidOf(broker, 2), before), 15_000);
  assert.equal((await metrics(broker)).get('carillon_worker_ends_total{cause="exit"}'), 0, 'it was asked to');
  const clients = [];
  for (const worker of [1, 2]) clients.push(await connectTo(broker, worker, { sub: `user-${worker}` }));
  const pids = [1, 2].map((worker) => pidOf(broker, worker));
  // As a terminal and systemd send it; the supervisor passes it on as well.
  for (const pid of [...pids, broker.pid]) process.kill(pid, 'SIGTERM');
  for (const client of clients) {
    assert.equal(typeof (await client.expect('drain')).ticket, 'string');
    assert.equal((await client.closed).code, 4200);
  }
  assert.deepEqual(await broker.exited, { code: 0, signal: null }, broker.logs.join('\n'));
  assert.deepEqual(pids.map(gone), [true, true]);
  const grave = broker.logs.filter((line) => /"level":"(error|fatal)"/.test(line));
  assert.equal(grave.length, 1, `the end of one worker alone: ${grave.join('\n')}`);
});

test('/readyz fails while it drains; a second signal ends all at once', async () => {
  const broker = await startBroker({
    config: { ...twoWorkers(), drain: { windowMs: 20_000, deadlineMs: 25_000, perSecond: 1 } },
  });
  const clients = [];
  for (let n = 0; n < 6; n++) clients.push(await connectTo(broker, 1 + (n % 2), { sub: `user-${n}` }));
  const pids = [1, 2].map((worker) => pidOf(broker, worker));
  process.kill(broker.pid, 'SIGTERM');
  await settled(async () => assert.deepEqual((await readiness(broker)).status, 'draining'));
  process.kill(broker.pid, 'SIGTERM');
  assert.equal((await broker.exited).code, 1);
  await settled(() => assert.deepEqual(pids.map(gone), [true, true]));
  await Promise.all(clients.map((client) => client.closed));
});

/** `carillon drain`, with what it has told. */
async function drainCommand(
  env: Readonly<Record<string, string>>,
  ...args: string[]
): Promise<{ code: number; lines: string }> {
  const child = spawn(process.execPath, ['dist/cli.js', 'drain', ...args], {
    env: { ...process.env, CARILLON_JWT_SECRET: 'x'.repeat(40), ...env },
  });
  const lines = text(child.stdout);
  const [code] = await once(child, 'exit');
  return { code, lines: await lines };
}

test('C4.10 a drain without a name is that of all workers, and the progress their sum', async () => {
  const broker = await startBroker({
    config: { ...twoWorkers(), node: { serverId: 'pod-1' }, admin: { token: ADMIN_TOKEN } },
  });
  const clients = [];
  for (const worker of [1, 1, 2])
    clients.push(await connectTo(broker, worker, { sub: `user-${clients.length}` }));
  const before = (await admin(broker, 'drain')) as Progress;
  assert.deepEqual([before.state, before.nodes], ['none', ['pod-1-w1', 'pod-1-w2']]);
  const { code, lines } = await drainCommand(
    { CARILLON_ADMIN_TOKEN: ADMIN_TOKEN },
    ...['--admin', broker.adminUrl, '--wait'],
  );
  assert.equal(code, 0, lines);
  assert.match(lines, /^draining: pod-1-w1, pod-1-w2\n[\s\S]*done: 3 of 3 sent away/);
  for (const client of clients) {
    await client.expect('drain');
    assert.equal((await client.closed).code, 4200);
  }
  const after = (await admin(broker, 'drain')) as Progress;
  assert.deepEqual([after.state, after.total, after.left], ['drained', 3, 0]);
  assert.equal((await readiness(broker)).status, 'draining');
  // What ends now is not started again: it would take clients.
  process.kill(pidOf(broker, 2), 'SIGTERM');
  await settled(async () =>
    assert.deepEqual(((await admin(broker, 'drain')) as Progress).nodes, ['pod-1-w1']),
  );
  const samples = await metrics(broker);
  for (const [state, count] of Object.entries({ ready: 1, starting: 0, restarting: 0 }))
    assert.equal(samples.get(`carillon_workers{state="${state}"}`), count, state);
  assert.deepEqual(await broker.stop(), { code: 0, signal: null }, broker.logs.join('\n'));
});

test('with a name a drain is that of one worker, and the others go on', async (context) => {
  const dir = mkdtempSync(join(tmpdir(), 'carillon-drain-'));
  context.after(() => rmSync(dir, { recursive: true }));
  const settings = join(dir, 'carillon.yaml');
  writeFileSync(settings, JSON.stringify({ admin: { token: ADMIN_TOKEN } }));
  const broker = await startBroker({
    config: { ...twoWorkers(), node: { serverId: 'pod-1' }, admin: { token: ADMIN_TOKEN } },
  });
  const [stays, leaves] = [
    await connectTo(broker, 1, { sub: 'ann' }),
    await connectTo(broker, 2, { sub: 'bob' }),
  ];
  // It finds the listener and the token where the broker does.
  const env = { CARILLON_ADMIN_LISTEN: new URL(broker.adminUrl).host, CARILLON_ADMIN_TOKEN: '' };
  const { code, lines } = await drainCommand(env, '--config', settings, '--node', 'pod-1-w2', '--wait');
  assert.equal(code, 0, lines);
  assert.match(lines, /^draining: pod-1-w2\n/);
  assert.equal((await leaves.closed).code, 4200);
  await stays.quiet();
  const { status } = await readiness(broker);
  assert.equal(status, 'ready');
  // It is renewed by its end.
  const pid = pidOf(broker, 2);
  process.kill(pid, 'SIGTERM');
  await settled(() => assert.notEqual(pidOf(broker, 2), pid), 15_000);
  await stays.close();
  assert.deepEqual(await broker.stop(), { code: 0, signal: null }, broker.logs.join('\n'));
});

test('workers do not outlive a supervisor that was killed', async () => {
  const broker = await startBroker({ config: twoWorkers() });
  const client = await connectTo(broker, 2, { sub: 'ann' });
  const pids = [1, 2].map((worker) => pidOf(broker, worker));
  await broker.kill();
  await client.closed;
  await settled(() => assert.deepEqual(pids.map(gone), [true, true]));
});

test('a supervisor that is killed in the middle of a drain does not leave workers that drain on', async () => {
  const broker = await startBroker({
    config: { ...twoWorkers(), drain: { windowMs: 20_000, deadlineMs: 60_000, perSecond: 1 } },
  });
  const clients = [];
  for (let n = 0; n < 6; n++) clients.push(await connectTo(broker, 1 + (n % 2), { sub: `user-${n}` }));
  const pids = [1, 2].map((worker) => pidOf(broker, worker));
  process.kill(broker.pid, 'SIGTERM');
  await settled(async () => assert.deepEqual((await readiness(broker)).status, 'draining'));
  await broker.kill();
  await Promise.all(clients.map((client) => client.closed));
  await settled(() => assert.deepEqual(pids.map(gone), [true, true]), 15_000);
});

/** Starts the program and waits for its end. */
async function ends(env: Readonly<Record<string, string>>, args: readonly string[] = []) {
  const child: ChildProcess = spawn(process.execPath, ['dist/main.js', ...args], {
    env: { ...process.env, CARILLON_JWT_SECRET: 'x'.repeat(40), ...env },
  });
  const said = text(child.stdout as never);
  const told = text(child.stderr as never);
  const [code] = await once(child, 'exit');
  return { code, said: await said, told: await told };
}

test('a port that somebody has stops the start: it would be shared in silence', async (context) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  const { port } = server.address() as { port: number };
  const env = {
    CARILLON_WORKERS: '2',
    CARILLON_NATS_URL: nats.urls[0] as string,
    CARILLON_LISTEN: `127.0.0.1:${port}`,
    CARILLON_ADMIN_LISTEN: '127.0.0.1:0',
  };
  const { code, said } = await ends(env);
  assert.equal(code, 1);
  assert.match(said, /the address is in use/);
});

test('where the first worker cannot start, none is tried again', async () => {
  const env = {
    CARILLON_WORKERS: '2',
    CARILLON_LISTEN: '127.0.0.1:0',
    CARILLON_ADMIN_LISTEN: '127.0.0.1:0',
    CARILLON_NATS_URL: 'nats://127.0.0.1:9',
    CARILLON_NATS__STARTTIMEOUTMS: '1s',
  };
  const { code, said } = await ends(env);
  assert.equal(code, 1);
  assert.match(said, /the first worker has ended before it listened/);
});

test('a worker is not for people', async () => {
  const { code, told } = await ends({}, ['--worker', '1']);
  assert.equal(code, 64);
  assert.match(told, /--worker is for the supervisor/);
});
