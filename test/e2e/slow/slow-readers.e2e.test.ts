/**
 * Readers that stop and readers that crawl, on real sockets: what each is promised by its `overflow`, while the
 * others notice nothing. Payloads are large, since the kernel takes some megabytes per socket before any of it shows.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import type { EventFrame, GapFrame, ServerFrame } from '../../../src/protocol/frames.ts';
import { type RunningBroker, withBroker } from '../../support/broker.ts';
import { StrictReader } from '../../support/reader.ts';

const ROOM = 'slow:room';
const PUBLISHES = 700;
const PAYLOAD = 'x'.repeat(30_000);
/** Milliseconds between publishes: about 3 MB/s to every reader. */
const PACE_MS = 10;

const CONFIG = {
  rooms: [{ match: '**', history: { count: 5000, bytes: '256MiB', age: '10m' } }],
  limits: { bufferedSoftBytes: '512KiB', bufferedHardBytes: '4MiB', catchUpBytes: '256KiB' },
};

class Reader {
  readonly strict = new StrictReader();
  readonly events: EventFrame[] = [];
  readonly gaps: GapFrame[] = [];
  readonly socket: WebSocket;
  closedWith: number | undefined;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data) => this.#read(JSON.parse(String(data))));
    socket.on('close', (code) => {
      this.closedWith = code;
    });
  }

  get position(): number {
    return this.strict.rooms.get(ROOM)?.seq ?? 0;
  }

  #read(message: ServerFrame | ServerFrame[]): void {
    const frames = Array.isArray(message) ? message : [message];
    this.strict.read(frames);
    for (const frame of frames) {
      if (frame.type === 'event') this.events.push(frame);
      if (frame.type === 'gap') this.gaps.push(frame);
    }
  }
}

async function open(broker: RunningBroker, user: string, overflow: string): Promise<Reader> {
  const token = await broker.token({ sub: user });
  const reader = new Reader(new WebSocket(broker.url, ['chat.v1', `bearer.${token}`]));
  await new Promise((resolve) => reader.socket.once('message', resolve));
  reader.socket.send(JSON.stringify({ type: 'join', room: ROOM, overflow }));
  while (!reader.strict.rooms.has(ROOM)) await sleep(5);
  return reader;
}

async function publishAll(broker: RunningBroker): Promise<void> {
  const publisher = await open(broker, 'publisher', 'close');
  for (let n = 0; n < PUBLISHES; n++) {
    const key = `k${n % 5}`;
    publisher.socket.send(
      JSON.stringify({ type: 'pub', room: ROOM, msgId: `m${n}`, key, payload: { n, PAYLOAD } }),
    );
    await sleep(PACE_MS);
  }
  while (publisher.strict.acked.size < PUBLISHES) await sleep(10);
}

/** Reads for a tenth of the time. */
async function crawl(reader: Reader, until: () => boolean): Promise<void> {
  while (!until()) {
    reader.socket.pause();
    await sleep(180);
    reader.socket.resume();
    await sleep(20);
  }
}

async function settle(readers: readonly Reader[], head: number): Promise<void> {
  const until = Date.now() + 60_000;
  while (readers.some((reader) => reader.position < head)) {
    assert.ok(Date.now() < until, `still at ${readers.map(({ position }) => position)} of ${head}`);
    await sleep(20);
  }
}

/** Positions received and positions in gaps together are all positions, each once. */
function addsUp(reader: Reader, all: readonly number[]): void {
  const got = reader.events.map((event) => event.seq as number);
  const missed = all.filter((seq) => reader.gaps.some(({ from, to }) => seq > from && seq <= to));
  assert.deepEqual(
    [...got, ...missed].sort((a, b) => a - b),
    all,
  );
}

test('C5.1 C5.7 slow readers get what their overflow says, exactly; fast ones do not notice', async () => {
  await withBroker({ config: CONFIG, env: { CARILLON_LOG_LEVEL: 'info' } }, async (broker) => {
    const fast = await Promise.all([1, 2].map((n) => open(broker, `fast${n}`, 'backfill')));
    const stalled = await Promise.all(
      (['backfill', 'skip', 'latest', 'close'] as const).map((how) => open(broker, `stalled-${how}`, how)),
    );
    const crawling = await Promise.all(
      (['backfill', 'skip'] as const).map((how) => open(broker, `crawling-${how}`, how)),
    );
    for (const reader of stalled) reader.socket.pause();
    let published = false;
    const crawls = crawling.map((reader) => crawl(reader, () => published));
    await publishAll(broker);
    published = true;
    await Promise.all(crawls);
    for (const reader of [...stalled, ...crawling]) reader.socket.resume();

    const head = fast[0]?.position ?? 0;
    const all = (fast[0] as Reader).events.map((event) => event.seq as number);
    assert.equal(all.length, PUBLISHES);
    const [backfill, skip, latest, close] = stalled as [Reader, Reader, Reader, Reader];
    await settle([...fast, ...crawling, backfill, skip, latest], head);
    for (const reader of [...fast, backfill, crawling[0] as Reader]) {
      assert.deepEqual(
        reader.events.map((event) => event.seq),
        all,
        'every event once, in order',
      );
      assert.deepEqual(reader.gaps, []);
    }
    for (const reader of [skip, latest, crawling[1] as Reader]) addsUp(reader, all);
    assert.ok(skip.gaps.length === 1, `one gap for who skips: ${skip.gaps.length}`);
    assert.deepEqual(
      latest.events
        .slice(-5)
        .map((event) => event.key)
        .sort(),
      ['k0', 'k1', 'k2', 'k3', 'k4'],
    );
    while (close.closedWith === undefined) await sleep(10);
    assert.ok([4102, 1006].includes(close.closedWith), `closed with ${close.closedWith}`);
  });
});
