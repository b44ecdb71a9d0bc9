/** The lifecycle webhook against a real HTTP server that fails in every way. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import type { LifecycleEvent } from '../../../src/broker/lifecycle/event.ts';
import type { LifecycleWebhookSettings } from '../../../src/broker/settings.ts';
import { LifecycleWebhook } from '../../../src/bus/hooks/webhook.ts';
import { QUIET } from '../../support/log.ts';

const SECRET = 'a secret that only this test knows, 32 bytes';

interface Received {
  readonly delivery: string;
  readonly events: readonly LifecycleEvent[];
}

let server: Server;
let received: Received[];
/** What the next requests get; then 200. 0: the connection is cut; -1: no answer. */
let answers: number[];
let attempts: number;

beforeEach(async () => {
  received = [];
  answers = [];
  attempts = 0;
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      attempts++;
      const body = Buffer.concat(chunks).toString();
      const signature = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(request.headers['carillon-signature']));
      const [, at, hex] = signature ?? [];
      assert.equal(hex, createHmac('sha256', SECRET).update(`${at}.${body}`).digest('hex'));
      const status = answers.shift() ?? 200;
      if (status === 0) return void request.socket.destroy();
      if (status < 0) return;
      if (status === 200) {
        const parsed = JSON.parse(body) as Received;
        assert.equal(parsed.delivery, request.headers['carillon-delivery']);
        received.push(parsed);
      }
      response.writeHead(status, { Location: 'http://127.0.0.1:1/' }).end('x');
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

interface Undelivered {
  readonly why: string;
  readonly events: readonly LifecycleEvent[];
}

function webhook(settings: Partial<LifecycleWebhookSettings> = {}) {
  const undelivered: Undelivered[] = [];
  const hook = new LifecycleWebhook({
    settings: {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
      secret: SECRET,
      batch: 10,
      lingerMs: 5,
      timeoutMs: 200,
      attempts: 5,
      retryMinMs: 5,
      retryMaxMs: 20,
      failures: 50,
      openMs: 100,
      queue: 1000,
      ...settings,
    },
    undelivered: (_id, payload) => void undelivered.push(JSON.parse(payload) as Undelivered),
    log: QUIET,
    now: Date.now,
    random: () => 0.5,
  });
  return { hook, undelivered };
}

function event(id: number): LifecycleEvent {
  return { id: `s:1:${id}`, event: 'joined', at: id, node: 'n', run: 'r', tenant: 't', session: 's' };
}

const ids = (lists: readonly { readonly events: readonly LifecycleEvent[] }[]) =>
  lists.flatMap(({ events }) => events.map(({ at }) => at));

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `never: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('in order, in signed batches, each event once', async () => {
  const { hook, undelivered } = webhook();
  for (let id = 0; id < 95; id++) hook.append(event(id));
  await until(() => hook.counts.delivered === 95);
  assert.deepEqual(
    ids(received),
    Array.from({ length: 95 }, (_, id) => id),
  );
  assert.equal(received.length, 10);
  hook.append(event(95));
  await until(() => hook.counts.delivered === 96);
  await hook.close();
  assert.deepEqual(undelivered, []);
});

test('a backend that fails, hangs, cuts and redirects gets the same delivery again, and later ones wait', async () => {
  const { hook, undelivered } = webhook({ attempts: 10 });
  answers = [500, 0, -1, 302, 429, 503];
  for (let id = 0; id < 25; id++) hook.append(event(id));
  await until(() => hook.counts.delivered === 25);
  assert.deepEqual(
    ids(received),
    Array.from({ length: 25 }, (_, id) => id),
  );
  assert.deepEqual([attempts, hook.counts.retried], [9, 6]);
  await hook.close();
  assert.deepEqual(undelivered, []);
});

test('what is refused, or fails too often, is kept as undelivered, and the next one’s turn comes', async () => {
  const { hook, undelivered } = webhook({ attempts: 2 });
  answers = [400, 500, 500];
  for (let id = 0; id < 30; id++) hook.append(event(id));
  await until(() => hook.counts.delivered === 10);
  assert.deepEqual(
    undelivered.map(({ why, events }) => [why, events[0]?.at, events.length]),
    [
      ['refused', 0, 10],
      ['failed', 10, 10],
    ],
  );
  assert.deepEqual(
    ids(received),
    Array.from({ length: 10 }, (_, at) => 20 + at),
  );
  await hook.close();
});

test('the breaker opens: a dead backend is not asked, and no attempt is used up', async () => {
  const { hook, undelivered } = webhook({ failures: 3, openMs: 300, attempts: 6 });
  answers = [500, 500, 500];
  hook.append(event(1));
  await until(() => hook.open);
  const before = attempts;
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.equal(attempts, before, 'nothing while it is open');
  await until(() => hook.counts.delivered === 1);
  assert.equal(hook.open, false);
  await hook.close();
  assert.deepEqual(undelivered, []);
});

test('the queue is bounded, and what is there at the end is kept as undelivered', async () => {
  const { hook, undelivered } = webhook({ queue: 100, attempts: 100, failures: 1, openMs: 60_000 });
  answers = [500];
  for (let id = 0; id < 10; id++) hook.append(event(id));
  await until(() => hook.open);
  for (let id = 10; id < 150; id++) hook.append(event(id));
  assert.ok(hook.waiting <= 100, `${hook.waiting}`);
  await hook.close();
  assert.deepEqual(new Set(undelivered.map(({ why }) => why)), new Set(['full', 'stopped']));
  assert.deepEqual(
    ids(undelivered).sort((one, other) => one - other),
    Array.from({ length: 150 }, (_, id) => id),
    'every event is accounted for',
  );
  assert.deepEqual(received, []);
});
