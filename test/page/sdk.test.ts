/** The SDK in a real browser: cut off, reloaded, and in tabs too busy to read. */
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import { WebSocket } from 'ws';
import {
  type Client,
  type ClientEvents,
  type ConnectOptions,
  connect,
  type Gap,
  type JoinOptions,
  type Missed,
  type Overflow,
  type Position,
  type RoomEvents,
} from '../../src/client/index.ts';
import { type RunningBroker, startBroker } from '../support/broker.ts';
import { launchChromium } from '../support/chromium.ts';
import { type Cut, cutProxy } from '../support/cut.ts';

const ROOM = 'room';
const WAIT_MS = 30_000;
const HISTORY = 1000;
const CONFIG = {
  page: { enabled: true },
  rooms: [{ match: '**', history: { count: HISTORY, bytes: '64MiB', age: '10m' } }],
  limits: { bufferedSoftBytes: '512KiB', bufferedHardBytes: '4MiB', catchUpBytes: '256KiB' },
};

let browser: Browser;
let broker: RunningBroker;
let line: Cut;

before(async () => {
  broker = await startBroker({ config: CONFIG, env: { CARILLON_LIMITS: 'off' } });
  // The policy of the page allows connections to where it came from: all through the proxy.
  line = await cutProxy(new URL(broker.httpUrl).host);
  browser = await launchChromium();
});

after(async () => {
  await browser.close();
  line.close();
  await broker.stop();
});

/** What a tab has seen, in order. */
interface Log {
  readonly seqs: number[];
  readonly payloads: unknown[];
  readonly gaps: Gap[];
  readonly caughtUp: RoomEvents['caughtUp'][];
  readonly qualities: string[];
  readonly resumed: ClientEvents['resumed'][];
  readonly errors: string[];
}

/** What the functions that run in the tab share. */
interface TabGlobal {
  client: Client;
  room: ReturnType<Client['join']>;
  log: Log;
}

async function openPage(): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(WAIT_MS);
  // What the loader of these tests calls in every named function.
  await page.addInitScript('globalThis.__name = (value) => value');
  await page.goto(line.httpUrl);
  return page;
}

async function start(page: Page, options: ConnectOptions, join: JoinOptions = {}): Promise<string> {
  const session = await page.evaluate(
    async ({ options, join, room: name, path }) => {
      const sdk: { connect: typeof connect } = await import(path);
      const client = sdk.connect(location.origin, options);
      const log: Log = {
        seqs: [],
        payloads: [],
        gaps: [],
        caughtUp: [],
        qualities: [],
        resumed: [],
        errors: [],
      };
      const room = client.join(name, join);
      Object.assign(globalThis, { client, room, log });
      client.on('resumed', (resumed) => log.resumed.push(resumed));
      client.on('error', ({ code }) => log.errors.push(code));
      client.on('quality', ({ level, causes }) => log.qualities.push([level, ...causes].join(' ')));
      room.on('gap', (gap) => log.gaps.push(gap));
      room.on('caughtUp', (caughtUp) => log.caughtUp.push(caughtUp));
      room.on('event', ({ seq, payload }) => {
        log.seqs.push(seq ?? -1);
        log.payloads.push((payload as { n: number }).n);
      });
      await room.whenJoined();
      return client.session;
    },
    { options, join, room: ROOM, path: '/sdk/client/index.js' },
  );
  assert.ok(session !== undefined);
  return session;
}

function logOf(page: Page): Promise<Log> {
  return page.evaluate(() => (globalThis as unknown as TabGlobal).log);
}

async function until(page: Page, what: string, holds: (log: Log) => boolean): Promise<Log> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const log = await logOf(page);
    if (holds(log)) return log;
    if (performance.now() > deadline)
      throw new Error(`${what}: ${JSON.stringify({ ...log, payloads: 0, seqs: log.seqs.length })}`);
    await sleep(50);
  }
}

/** Until the test ends, however it ends: a client that goes on trying would keep the process alive. */
function publisher(t: TestContext): Client {
  const client = connect(broker.url, {
    token: () => broker.token({ sub: 'publisher' }),
    webSocket: WebSocket,
  });
  t.after(() => client.close());
  return client;
}

/** Numbers from `first` to `last`, one event each. */
function numbers(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}

test('cut off and reloaded: one session, every event once and in order, and all of it told', async (t) => {
  const source = publisher(t);
  const publish = (from: number, to: number) =>
    Promise.all(numbers(from, to).map((n) => source.publish(ROOM, { n })));
  const page = await openPage();
  const token = await broker.token({ sub: 'tab' });
  const quality = { holdMs: 200 };
  const reconnect = { minMs: 20, maxMs: 100 };
  const session = await start(page, { token, quality, reconnect });
  await publish(1, 50);
  await until(page, 'the first events', ({ payloads }) => payloads.length === 50);
  line.cut();
  await until(page, 'the loss', ({ qualities }) => qualities.length === 1);
  await publish(51, 100);
  line.mend();
  const back = await until(page, 'healthy again', ({ qualities }) => qualities.length === 2);
  assert.deepEqual(back.qualities, ['weak lost', 'healthy']);
  assert.deepEqual(
    back.resumed.map((resumed) => resumed.session),
    [session],
    'by the ticket',
  );
  assert.equal(back.resumed[0]?.last?.code, 1006, 'the broker tells how it saw the end');
  assert.deepEqual(
    back.caughtUp.map(({ slow }) => slow),
    [false],
  );
  assert.deepEqual(back.payloads, numbers(1, 100));
  assert.deepEqual(back.gaps, []);
  // The reload: what the page keeps is what continues it.
  const kept = await page.evaluate(() => {
    const { client, room } = globalThis as unknown as TabGlobal;
    return { ticket: client.ticket, since: room.position };
  });
  assert.ok(kept.ticket !== undefined && kept.since !== undefined);
  await page.reload();
  await publish(101, 150);
  const again = { token: 'none: the ticket has to do', ticket: kept.ticket, quality, reconnect };
  assert.equal(await start(page, again, { since: kept.since as Position }), session);
  const resumed = await until(page, 'the events of the reload', ({ caughtUp }) => caughtUp.length === 1);
  assert.deepEqual(resumed.payloads, numbers(101, 150));
  assert.deepEqual(resumed.errors, []);
  // Away for longer than the room remembers.
  line.cut();
  await until(page, 'the second loss', ({ qualities }) => qualities.at(-1) === 'weak lost');
  await publish(151, 150 + HISTORY + 40);
  line.mend();
  const late = await until(page, 'caught up', ({ caughtUp }) => caughtUp.length === 2);
  assert.deepEqual(
    late.gaps.map(({ from, to, reason }) => [from, to, reason]),
    [[150, 190, 'retention']],
  );
  assert.deepEqual(late.payloads.slice(50), numbers(191, 150 + HISTORY + 40));
  const missed = await page.evaluate((): Promise<Missed> => {
    const { room, log } = globalThis as unknown as TabGlobal;
    return room.missed(log.gaps[0] as Gap);
  });
  assert.deepEqual(missed, { events: [], complete: false });
});

const PUBLISHES = 800;
const PAYLOAD = 'x'.repeat(30_000);
const PACE_MS = 6;
const CHOICES: readonly Overflow[] = ['backfill', 'latest', 'skip', 'close'];

/** A tab whose script does nothing until the dialog is answered, and so reads nothing. */
async function hang(page: Page): Promise<() => Promise<void>> {
  const opened = new Promise<() => Promise<void>>((resolve) =>
    page.once('dialog', (dialog) => resolve(() => dialog.accept())),
  );
  await page.evaluate(() => void setTimeout(() => alert('busy'), 0));
  return opened;
}

/** Every event from `first` to `head` was delivered once, or lies in one gap. */
function accounted({ seqs, gaps }: Log, first: number, head: number): void {
  const all = [...seqs, ...gaps.flatMap(({ from, to }) => numbers(from + 1, to))];
  assert.deepEqual(
    all.sort((a, b) => a - b),
    numbers(first, head),
  );
  for (const [at, seq] of seqs.entries()) assert.ok(at === 0 || seq > (seqs[at - 1] ?? 0), 'in order');
}

test('a tab too busy to read gets what it chose: each overflow', async (t) => {
  const source = publisher(t);
  const token = await broker.token({ sub: 'tab' });
  const pages = await Promise.all(CHOICES.map(openPage));
  const options = { token, quality: { holdMs: 500 }, reconnect: { minMs: 20, maxMs: 100 } };
  for (const [at, page] of pages.entries()) await start(page, options, { overflow: CHOICES[at] as Overflow });
  const first = ((await source.history(ROOM, { limit: 1 })).events[0]?.seq ?? 0) + 1;
  const wakes = await Promise.all(pages.map(hang));
  let head = 0;
  for (let n = 0; n < PUBLISHES; n++) {
    const sent = source.publish(ROOM, { n, PAYLOAD }, { key: `k${n % 5}` });
    if (n % 10 === 9) ({ seq: head = 0 } = await sent);
    await sleep(PACE_MS);
  }
  await Promise.all(wakes.map((wake) => wake()));
  const arrived = (log: Log) => log.seqs.at(-1) === head || log.gaps.at(-1)?.to === head;
  const logs = new Map<Overflow, Log>();
  for (const [at, page] of pages.entries()) {
    const choice = CHOICES[at] as Overflow;
    await until(page, `${choice}: the end`, arrived);
    logs.set(
      choice,
      await until(page, `${choice}: weak, then healthy`, ({ qualities }) => qualities.at(-1) === 'healthy'),
    );
  }
  const of = (choice: Overflow) => logs.get(choice) as Log;
  for (const [choice, log] of logs) {
    accounted(log, first, head);
    assert.ok(
      log.qualities.some((quality) => quality.includes('slow')),
      `${choice}: ${log.qualities}`,
    );
  }
  for (const choice of ['backfill', 'close'] as const)
    assert.deepEqual(of(choice).seqs, numbers(first, head), choice);
  assert.ok(of('backfill').caughtUp.some(({ slow }) => slow));
  assert.deepEqual(of('backfill').errors, []);
  // The close frame stands behind what was not read: where the socket ended before it came, the next session tells.
  const [how] = of('close').errors;
  if (how === 'disconnected') assert.equal(of('close').resumed[0]?.last?.code, 4102);
  else assert.equal(how, 'slow_consumer');
  for (const choice of ['latest', 'skip'] as const) {
    assert.ok(of(choice).gaps.length > 0 && of(choice).gaps.every(({ reason }) => reason === 'backpressure'));
    assert.deepEqual(of(choice).errors, []);
  }
  const newest = numbers(head - 4, head);
  assert.deepEqual(of('latest').seqs.slice(-5), newest, 'the newest of each of five keys');
  // What was skipped is not lost to who asks for it.
  const skipper = pages[CHOICES.indexOf('skip')] as Page;
  const [found, complete] = await skipper.evaluate(async () => {
    const { room, log } = globalThis as unknown as TabGlobal;
    const missed = await room.missed(log.gaps[0] as Gap);
    return [missed.events.map(({ seq }) => seq), missed.complete] as const;
  });
  const [gap] = of('skip').gaps;
  assert.deepEqual(found, numbers((gap?.from ?? 0) + 1, gap?.to ?? 0));
  assert.equal(complete, true);
});
