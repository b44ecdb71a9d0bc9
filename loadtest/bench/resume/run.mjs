/** Thousands of clients lose their connection at once and come back. loadtest/README.md says how to read it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { withBus } from '../../support/buses.mjs';
import { scrape } from '../../support/metrics.mjs';
import { cpuSeconds, pinSelf, putFirst, waitedSeconds } from '../../support/process.mjs';
import { Publisher } from '../../support/publisher.mjs';
import { sleep } from '../../support/stats.mjs';
import { mint } from '../../support/token.mjs';
import { Worker } from '../../support/worker.mjs';
import { markdown, missedMarks } from './report.mjs';

const { values: flags } = parseArgs({
  options: {
    bus: { type: 'string', multiple: true, default: ['embedded', 'nats'] },
    clients: { type: 'string', default: '5000' },
    rooms: { type: 'string', default: '50' },
    /** Events per room that one client in five has missed; the others were there until they were dropped. */
    behind: { type: 'string', default: '400' },
    bytes: { type: 'string', default: '200' },
    rate: { type: 'string', default: '100' },
    main: { type: 'string', default: 'dist/main.js' },
    json: { type: 'string' },
    markdown: { type: 'string' },
    check: { type: 'boolean', default: false },
    'cpu-prof': { type: 'string' },
  },
});
const clients = Number(flags.clients);
const rooms = Array.from({ length: Number(flags.rooms) }, (_, n) => `resume:${n}`);
const bytes = Number(flags.bytes);
const behind = Number(flags.behind);
const FAR_ONE_IN = 5;
const WORKERS = 2;
const BYSTANDERS = 100;
const FILL_RATE = 5000;
const STEADY_MS = 4000;
const AWAY_MS = 1000;
const CLIENTS = new URL('./clients.mjs', import.meta.url);
const CONFIG = { rooms: [{ match: '**', history: { count: 1000, bytes: '4MiB', age: '1h' } }] };

let users = 0;
const tokens = (count) => Promise.all(Array.from({ length: count }, () => mint(`user${++users}`)));
const spread = (count) => Array.from({ length: count }, (_, n) => rooms[n % rooms.length]);

async function come(worker, address, count, leave = false) {
  await worker.run('open', { address, rooms: spread(count), tokens: await tokens(count), leave });
}

/** `dropped` is where the clients were, `target` where they come back. */
async function storm(dropped, target, loseAll) {
  const from = (n) => ({ ...dropped.listen, localAddress: `127.0.0.${2 + n}` });
  const to = (n) => ({ ...target.listen, localAddress: `127.0.0.${2 + n}` });
  const workers = Array.from({ length: WORKERS }, () => new Worker(CLIENTS));
  const bystanders = new Worker(CLIENTS);
  // They stand for clients with a machine of their own: before the thousands that come back, on the same CPU here.
  putFirst(bystanders.pid);
  putFirst(process.pid);
  const each = clients / WORKERS;
  const far = Math.floor(each / FAR_ONE_IN);
  await Promise.all(workers.map((worker, n) => come(worker, from(n), far, true)));
  const filler = await Publisher.open({ ...dropped.listen, token: await mint('filler') });
  await filler.run({ rooms, count: behind * rooms.length, rate: FILL_RATE, bytes });
  filler.end();
  await Promise.all(workers.map((worker, n) => come(worker, from(n), each - far)));
  await come(bystanders, to(9), BYSTANDERS);
  const publisher = await Publisher.open({ ...target.listen, token: await mint('publisher') });
  const rate = Number(flags.rate);
  const publish = (ms) => publisher.run({ rooms, count: Math.ceil((rate * ms) / 1000), rate, bytes });

  await publish(STEADY_MS);
  const calm = await bystanders.run('latencies');
  await Promise.all([loseAll(workers), publish(AWAY_MS)]);
  await bystanders.run('latencies');
  const before = await scrape(target.admin);
  const cpu = cpuSeconds(target.pid);
  const waited = waitedSeconds(target.pid);
  const started = performance.now();
  let over = false;
  const publishing = (async () => {
    while (!over) await publish(250);
  })();
  const resumed = await Promise.all(workers.map((worker, n) => worker.run('resume', { address: to(n) })));
  const ms = performance.now() - started;
  const during = await bystanders.run('latencies');
  const after = await scrape(target.admin);
  over = true;
  await publishing;
  await sleep(500);
  const faults = (await Promise.all([...workers, bystanders].map((worker) => worker.run('faults')))).flat();
  publisher.end();
  for (const worker of [...workers, bystanders]) worker.stop();
  return {
    ms,
    cpuSeconds: cpuSeconds(target.pid) - cpu,
    waitedMs: (waitedSeconds(target.pid) - waited) * 1000,
    resumed,
    calm,
    during,
    faults: { count: faults.length, first: faults.slice(0, 3) },
    before: Object.fromEntries(before),
    after: Object.fromEntries(after),
  };
}

async function measure(bus) {
  const config = bus === 'nats' ? { ...CONFIG, nats: { shards: 8 } } : CONFIG;
  const profile = flags['cpu-prof'];
  const nodeArgs = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
  return withBus(bus, config, async (start) => {
    const target = await start({ core: 0, main: flags.main, nodeArgs });
    if (bus === 'embedded') {
      const lose = (workers) => Promise.all(workers.map((worker) => worker.run('drop')));
      return { bus, ...(await storm(target, target, lose)) };
    }
    // The clients' own node is killed: what they missed is known here by the store only, or since a bystander came.
    const other = await start({ core: 0, main: flags.main });
    const lose = async (workers) => {
      process.kill(other.pid, 'SIGKILL');
      await Promise.all(workers.map((worker) => worker.run('drop')));
    };
    return { bus, ...(await storm(other, target, lose)) };
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
save(flags.json, `${JSON.stringify({ at: new Date().toISOString(), flags, results }, undefined, 2)}\n`);
save(flags.markdown, `${results.map(markdown).join('\n')}\n`);
const missed = results.flatMap(missedMarks);
for (const line of missed) console.log(`missed: ${line}`);
process.exit(flags.check && missed.length > 0 ? 1 : 0);
