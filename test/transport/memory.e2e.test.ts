/** Rule 12: what waits for slow readers is bounded, and comes back when they are ended. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { RawSocket } from '../support/raw-socket.ts';
import { type Program, pause, startNaive, startNode } from './support/spawn.ts';

const MIB = 1024 * 1024;
const READERS = 20;
/** The kernel takes some 4 MiB of a connection's bytes before anything has to wait in the process. */
const SENT_MIB = 10;
const HARD_MIB = 1;
const ROUNDS = 5;

async function slowReaders(port: number): Promise<RawSocket[]> {
  const readers: RawSocket[] = [];
  for (let at = 0; at < READERS; at++) {
    const reader = await RawSocket.upgraded(port);
    reader.socket.pause();
    reader.say('join room0');
    readers.push(reader);
  }
  return readers;
}

/** Reads all there is, and forgets it. */
async function drain(reader: RawSocket): Promise<void> {
  reader.socket.removeAllListeners('data');
  reader.socket.resume();
  for (let before = -1; before !== reader.socket.bytesRead; ) {
    before = reader.socket.bytesRead;
    await pause(100);
  }
}

test('naive: memory that waited for a slow reader stays after it has read everything, until it goes', async (t) => {
  const program = await startNaive('backlog.mjs', String(READERS), String(SENT_MIB));
  t.after(() => program.kill());
  const rss = async () => Number(await (await fetch(`http://127.0.0.1:${program.port}/rss`)).text());
  const base = await rss();
  const readers = await slowReaders(program.port);
  const full = (await rss()) - base;
  await Promise.all(readers.map(drain));
  const drained = (await rss()) - base;
  for (const reader of readers) reader.destroy();
  await pause(200);
  const gone = (await rss()) - base;
  const figures = [full, drained, gone].map((bytes) => Math.round(bytes / MIB)).join(', ');
  assert.ok(full > READERS * 4 * HARD_MIB * MIB, `MiB when full, drained, gone: ${figures}`);
  assert.ok(drained > full / 2, `MiB when full, drained, gone: ${figures}`);
  assert.ok(gone < drained / 2, `MiB when full, drained, gone: ${figures}`);
});

let node: Program;

before(async () => {
  node = await startNode({
    limits: { bufferedHardBytes: HARD_MIB * MIB },
    idleSeconds: 8,
    storm: { rooms: 1, bytes: MIB / 4, members: READERS },
  });
});
after(() => node.kill());

test('rule 12: no slow reader has more than bufferedHardBytes waiting; ended with 4102, it gives all back', async () => {
  // The second round finds the heap as the first has left it.
  await round();
  const base = (await node.counts()).rss;
  const peaks = [];
  for (let at = 0; at < ROUNDS; at++) peaks.push(await round());
  const after = (await node.counts()).rss;
  const perReader = (Math.max(...peaks) - base) / READERS / MIB;
  // The hard limit, one message above it, and what the heap moves by.
  assert.ok(perReader < 2 * HARD_MIB + 0.5, `${perReader} MiB per reader`);
  // What is not given back adds up; a heap that is at another point of its cycle does not.
  const kept = (after - base) / (ROUNDS * READERS) / MIB;
  assert.ok(kept < HARD_MIB / 4, `${kept} MiB kept of each reader`);
});

/** Slow readers come, lose bytes, and are gone. Returns the most memory seen. */
async function round(): Promise<number> {
  const { closes } = await node.counts();
  const before = closes['4102'] ?? 0;
  const readers = await slowReaders(node.port);
  let peak = 0;
  await node.until((counts) => {
    peak = Math.max(peak, counts.rss);
    return (counts.closes['4102'] ?? 0) === before + READERS;
  });
  for (const reader of readers) reader.destroy();
  await node.until(({ connections }) => connections === 0);
  // Whoever does not close has its descriptor and its bytes for 4 s (idleSeconds 8): these close.
  await pause(300);
  return peak;
}
