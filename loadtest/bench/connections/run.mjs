/**
 * What connections and rooms cost in memory: 15,000 authenticated connections in three rooms each, one publish that
 * has to reach all of them, and 100,000 rooms with one member each. loadtest/README.md says how to read it.
 */
import { fork } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cpuSeconds, startBroker } from '../../support/process.mjs';
import { LoadSocket } from '../../support/socket.mjs';
import { sleep, table } from '../../support/stats.mjs';
import { mint } from '../../support/token.mjs';
import { MemoryProbe } from './probe.mjs';

const { values: flags } = parseArgs({
  options: {
    connections: { type: 'string', default: '15000' },
    rooms: { type: 'string', default: '100000' },
    processes: { type: 'string', default: '3' },
    main: { type: 'string', default: 'dist/main.js' },
    only: { type: 'string', multiple: true },
    json: { type: 'string' },
    check: { type: 'boolean', default: false },
  },
});
const CLIENT = fileURLToPath(new URL('client.mjs', import.meta.url));
const CONNECTIONS = Number(flags.connections);
const ROOMS = Number(flags.rooms);
const PROCESSES = Number(flags.processes);
const ROOM_BYTES = 2048;
const IDLE_MS = 2000;
const REACH_MS = 15_000;

const SCENARIOS = {
  idle: {
    title: `${CONNECTIONS} connections, each in 3 rooms`,
    connections: CONNECTIONS,
    per: 'connection',
    units: CONNECTIONS,
    rooms: [{ name: 'live:all' }, { name: 'team', shared: 150 }, { name: 'own', own: 1 }],
    reach: 'live:all',
  },
  rooms100: oneMemberRooms(100),
  rooms1000: oneMemberRooms(1000),
};

function oneMemberRooms(each) {
  const connections = Math.round(ROOMS / each);
  return {
    title: `${ROOMS} one-member rooms: ${connections} connections with ${each} each`,
    connections,
    per: 'room',
    units: ROOMS,
    rooms: [{ name: 'own', own: each }],
    most: ROOM_BYTES,
  };
}

/** Starts the client processes; resolves when every connection has joined its rooms. */
async function openClients(broker, token, { connections, rooms }) {
  const share = Math.ceil(connections / PROCESSES);
  const address = { ...broker.listen, path: '/connect', protocol: 'chat.v1', token };
  const clients = Array.from({ length: PROCESSES }, (_, index) => {
    const child = fork(CLIENT);
    const failed = new Promise((_resolve, reject) => {
      child.on('message', ({ type, why }) => {
        if (type === 'failed') reject(new Error(`client process ${index}: ${why}`));
      });
      child.once('exit', (code) => reject(new Error(`client process ${index} ended with ${code}`)));
    });
    // Looked at only while something is awaited from this process.
    failed.catch(() => undefined);
    const next = (type) =>
      Promise.race([
        failed,
        new Promise((resolve) => {
          child.on('message', (message) => {
            if (message.type === type) resolve(message);
          });
        }),
      ]);
    return { child, next };
  });
  await Promise.all(
    clients.map(({ child, next }, index) => {
      const from = Math.min(connections, index * share);
      const to = Math.min(connections, from + share);
      child.send({ from, to, rooms, address, source: `127.0.0.${index + 2}` });
      return next('ready');
    }),
  );
  return clients;
}

/** One publish; resolves with the milliseconds until every connection has it. */
async function reachAll(broker, token, clients, room) {
  const received = Promise.all(clients.map(({ next }) => next('received')));
  const publisher = new LoadSocket(
    { ...broker.listen, path: '/connect', protocol: 'chat.v1', token },
    { closed: (why) => console.error(`publisher ${why}`) },
  );
  await publisher.open();
  const started = performance.now();
  publisher.send(JSON.stringify({ type: 'pub', room, payload: 'to everybody' }));
  const late = sleep(REACH_MS).then(() => {
    throw new Error(`not everybody had the message after ${REACH_MS} ms`);
  });
  const counts = await Promise.race([received, late]);
  const ms = performance.now() - started;
  publisher.end();
  return { ms, reached: counts.reduce((sum, { events }) => sum + events, 0) };
}

async function run(name, scenario) {
  const broker = await startBroker({ main: flags.main, nodeArgs: ['--inspect=127.0.0.1:0'] });
  const probe = await MemoryProbe.attach(broker);
  let clients = [];
  try {
    const token = await mint('bench');
    const before = await probe.read();
    const cpu = cpuSeconds(broker.pid);
    const started = performance.now();
    clients = await openClients(broker, token, scenario);
    const openSeconds = (performance.now() - started) / 1000;
    const openCpuSeconds = cpuSeconds(broker.pid) - cpu;
    await sleep(IDLE_MS);
    const idle = await probe.read();
    const reach =
      scenario.reach === undefined ? undefined : await reachAll(broker, token, clients, scenario.reach);
    return { name, ...scenario, openSeconds, openCpuSeconds, before, idle, reach };
  } finally {
    for (const { child } of clients) child.disconnect();
    probe.close();
    await broker.stop();
  }
}

function print({ title, per, units, before, idle, reach, openSeconds, openCpuSeconds, most }) {
  const row = (label, key) => [
    label,
    (before[key] / 2 ** 20).toFixed(1),
    (idle[key] / 2 ** 20).toFixed(1),
    ((idle[key] - before[key]) / units).toFixed(0),
  ];
  const cpu = ((openCpuSeconds / units) * 1e6).toFixed(0);
  console.log(
    `### ${title}\n\nopened and joined in ${openSeconds.toFixed(1)} s, ${cpu} µs of server CPU per ${per}\n`,
  );
  console.log(
    table([
      ['memory', 'MiB before', 'MiB idle', `bytes per ${per}`],
      row('resident', 'rss'),
      row('resident, garbage collected', 'rssCollected'),
      row('JavaScript heap', 'heapUsed'),
      row('external', 'external'),
    ]),
  );
  if (reach !== undefined)
    console.log(`\none publish reached ${reach.reached} of ${units} in ${reach.ms.toFixed(0)} ms`);
  if (most !== undefined) console.log(`\nwanted: at most ${most} bytes per ${per}`);
  console.log('');
}

/** Each promise in one line when it is broken. */
function broken(results) {
  return results.flatMap(({ title, units, most, before, idle, reach }) => {
    const each = (idle.rssCollected - before.rssCollected) / units;
    const faults = [];
    if (most !== undefined && each > most)
      faults.push(`${title}: ${each.toFixed(0)} bytes each, wanted ${most}`);
    if (reach !== undefined && reach.reached !== units)
      faults.push(`${title}: ${reach.reached} of ${units} reached`);
    return faults;
  });
}

const results = [];
for (const [name, scenario] of Object.entries(SCENARIOS)) {
  if (flags.only !== undefined && !flags.only.includes(name)) continue;
  const result = await run(name, scenario);
  print(result);
  results.push(result);
}
const faults = broken(results);
for (const fault of faults) console.log(`MISSED: ${fault}`);
if (flags.json !== undefined) {
  mkdirSync(dirname(flags.json), { recursive: true });
  const report = { at: new Date().toISOString(), node: process.version, results, faults };
  writeFileSync(flags.json, `${JSON.stringify(report, undefined, 2)}\n`);
}
process.exit(flags.check && faults.length > 0 ? 1 : 0);
