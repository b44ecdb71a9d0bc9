/** What slow readers do to fast ones, and what becomes of them. loadtest/README.md says how to read it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { withBus } from '../../support/buses.mjs';
import { scrape } from '../../support/metrics.mjs';
import { cpuSeconds, pinSelf, waitedSeconds } from '../../support/process.mjs';
import { Publisher } from '../../support/publisher.mjs';
import { mint } from '../../support/token.mjs';
import { Worker } from '../../support/worker.mjs';
import { MemoryProbe } from '../connections/probe.mjs';
import { markdown, missedMarks } from './report.mjs';

const { values: flags } = parseArgs({
  options: {
    bus: { type: 'string', multiple: true, default: ['embedded', 'nats'] },
    seconds: { type: 'string', default: '20' },
    rate: { type: 'string', default: '1000' },
    bytes: { type: 'string', default: '2048' },
    main: { type: 'string', default: 'dist/main.js' },
    json: { type: 'string' },
    markdown: { type: 'string' },
    check: { type: 'boolean', default: false },
  },
});
const seconds = Number(flags.seconds);
const rate = Number(flags.rate);
const bytes = Number(flags.bytes);
const count = seconds * rate;
const ROOM = 'slow';
const READERS = new URL('./readers.mjs', import.meta.url);
/** Of what is published a second: what a crawling reader takes. */
const CRAWL = 0.1;
const STALL_MS = Math.min(10_000, (seconds * 1000) / 2);

/** Keeps as much as one run publishes: what a backfill needs, and no more, so that memory can be compared. */
const CONFIG = {
  rooms: [{ match: '**', history: { count, bytes: count * (bytes + 1000), age: '1h' } }],
};

const many = (n, kind) => Array.from({ length: n }, () => kind);
const FAST = many(70, { pace: 'fast', overflow: 'backfill' });
const OTHERS = many(30, { pace: 'fast', overflow: 'backfill' });
const SLOW = ['stalls', 'crawls'].flatMap((pace) => [
  ...many(6, { pace, overflow: 'backfill' }),
  ...['skip', 'latest', 'close'].flatMap((overflow) => many(3, { pace, overflow })),
]);

async function phase(broker, fast, beside) {
  const workers = [new Worker(READERS), new Worker(READERS)];
  const address = { ...broker.listen, path: '/connect' };
  const groups = [fast, beside];
  for (const [n, kinds] of groups.entries()) {
    if (kinds.length === 0) continue;
    const tokens = await Promise.all(kinds.map((_, at) => mint(`reader-${n}-${at}`)));
    await workers[n].run('open', { address, tokens, room: ROOM, kinds });
  }
  const used = workers.filter((_, n) => groups[n].length > 0);
  const publisher = await Publisher.open({ ...broker.listen, token: await mint('publisher') });
  const before = await scrape(broker.admin);
  const cpu = cpuSeconds(broker.pid);
  const waited = waitedSeconds(broker.pid);
  const load = { stallMs: STALL_MS, crawlBytes: rate * (bytes + 200) * CRAWL, seconds };
  for (const worker of used) await worker.run('load', load);
  const { seconds: took } = await publisher.run({ rooms: [ROOM], count, rate, bytes });
  const during = await scrape(broker.admin);
  const seqs = publisher.seqs.get(ROOM);
  const results = await Promise.all(used.map((worker) => worker.run('end', { seqs })));
  const after = await scrape(broker.admin);
  publisher.end();
  return {
    took,
    cpuSeconds: cpuSeconds(broker.pid) - cpu,
    waitedMs: (waitedSeconds(broker.pid) - waited) * 1000,
    results,
    lagMs: (during.get('loop_lag_seconds{stat="max"}') ?? 0) * 1000,
    before: Object.fromEntries(before),
    after: Object.fromEntries(after),
    close: async () => {
      for (const worker of workers) {
        await worker.run('close');
        worker.stop();
      }
      await new Promise((resolve) => setTimeout(resolve, 500));
    },
  };
}

async function measure(bus) {
  const config = bus === 'nats' ? { ...CONFIG, nats: { shards: 1, url: 'nats://127.0.0.1:1' } } : CONFIG;
  return withBus(bus, config, async (start) => {
    const broker = await start({ core: 0, main: flags.main, nodeArgs: ['--inspect=127.0.0.1:0'] });
    const probe = await MemoryProbe.attach(broker);
    const alone = await phase(broker, FAST, []);
    await alone.close();
    const all = await phase(broker, FAST, OTHERS);
    await all.close();
    const memory = { start: await probe.read() };
    const mixed = await phase(broker, FAST, SLOW);
    memory.connected = await probe.read();
    await mixed.close();
    memory.end = await probe.read();
    probe.close();
    return { bus, alone, all, mixed, memory };
  });
}

function save(file, text) {
  if (file === undefined) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

// The broker has one CPU, the load and NATS the other: what a turn takes is to be its own time, not that of others.
pinSelf(1);
const results = [];
for (const bus of flags.bus) {
  const result = await measure(bus);
  results.push(result);
  console.log(markdown(result));
}
const settings = { seconds, rate, bytes };
save(flags.json, `${JSON.stringify({ at: new Date().toISOString(), settings, results }, undefined, 2)}\n`);
save(flags.markdown, `${results.map(markdown).join('\n')}\n`);
const missed = results.flatMap(missedMarks);
for (const line of missed) console.log(`missed: ${line}`);
process.exit(flags.check && missed.length > 0 ? 1 : 0);
