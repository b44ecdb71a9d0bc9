/** Four brokers on one NATS server, one room of thousands, people who come and go; then one broker is killed. */
import { randomBytes } from 'node:crypto';
import { withBus } from '../../support/buses.mjs';
import { micros } from '../../support/events.mjs';
import { scrape } from '../../support/metrics.mjs';
import { cpuSeconds, residentBytes } from '../../support/process.mjs';
import { percentiles, sleep } from '../../support/stats.mjs';
import { mint } from '../../support/token.mjs';
import { Worker } from '../../support/worker.mjs';
import { compareChurn, compareDeath } from './truth.mjs';

export const PODS = 4;
const PROCESSES = 2;
const ROOM = 'live:hall';
const IDLE_MS = 3000;
const SETTLE_MS = 2000;
/** Silence of a dead node (6 s as shipped), and what may be left of a grace of 5 s, twice. */
const DEATH_MS = 12_000;
const MANY = 1_000_000;
export const MODES = {
  full: { fullMembers: MANY, deltaMembers: MANY },
  delta: { deltaMembers: MANY },
  count: {},
};

const namesOf = (count, prefix) => Array.from({ length: count }, (_, at) => `${prefix}${at}`);

export async function mintAll({ members, watchers }) {
  const people = (count, prefix) =>
    Promise.all(namesOf(count, prefix).map(async (user) => ({ user, token: await mint(user) })));
  return {
    members: await people(members, 'm'),
    watchers: await people(watchers * PODS, 'w'),
    newcomers: await people(100, 'n'),
  };
}

/** The connections of NATS, by their names: all of one broker's begin with its own name there. */
async function linesOf(nats) {
  const { connections } = await nats.servers[0].monitor('/connz?limit=1000');
  return connections
    .filter(({ name = '' }) => name.startsWith('carillon '))
    .map(({ name, in_bytes, out_bytes }) => ({
      name: name.split(' ').slice(0, 2).join(' '),
      sent: in_bytes,
      received: out_bytes,
    }));
}

/** What each broker, and NATS, has used and sent so far. Bytes are payloads, as the server counts them. */
async function sample(pods, nats) {
  const lines = await linesOf(nats);
  const sum = (name, what) =>
    lines.filter((line) => line.name === name).reduce((total, line) => total + line[what], 0);
  return {
    at: performance.now(),
    pods: pods.map(({ pid, name }) => ({
      cpu: cpuSeconds(pid),
      sent: sum(name, 'sent'),
      received: sum(name, 'received'),
    })),
    natsCpu: cpuSeconds(nats.servers[0].pid),
  };
}

/** Per second, by pod. */
function between(before, after) {
  const seconds = (after.at - before.at) / 1000;
  const rate = (name) => after.pods.map((pod, at) => (pod[name] - before.pods[at][name]) / seconds);
  return {
    cpu: rate('cpu'),
    sent: rate('sent'),
    received: rate('received'),
    natsCpu: (after.natsCpu - before.natsCpu) / seconds,
  };
}

async function measure(pods, nats, task) {
  const before = await sample(pods, nats);
  const result = await task();
  return { ...between(before, await sample(pods, nats)), result };
}

async function fill(pods, workers, members) {
  const begun = performance.now();
  const placed = members.map((person, at) => {
    const pod = at % PODS;
    return { ...person, pod, address: pods[pod].listen };
  });
  await Promise.all(
    workers.map((worker, n) =>
      worker.run('open', {
        room: ROOM,
        people: placed.filter((_, at) => Math.floor(at / PODS) % PROCESSES === n),
      }),
    ),
  );
  return { placed, ms: performance.now() - begun };
}

/** One newcomer a second, at each broker in turn. */
async function newcomers(pods, watching, people, seconds) {
  const seen = [];
  const begun = performance.now();
  for (let at = 0; at < seconds - 1; at++) {
    await sleep(Math.max(0, begun + at * 1000 - performance.now()));
    const person = { ...people[at], address: pods[at % PODS].listen };
    seen.push(await watching.run('newcomer', { person, room: ROOM }));
  }
  return seen;
}

async function churn(stage, { rate, seconds }) {
  const { pods, workers, watching, people } = stage;
  const changing = workers.map((worker) => worker.run('churn', { rate: rate / PROCESSES, seconds }));
  const coming = newcomers(pods, watching, people.newcomers, seconds);
  await sleep(seconds * 1000);
  return { changing, coming };
}

/** Who is told what, of a broker that dies with a quarter of the room. */
async function death({ pods, workers, watching }, placed) {
  const dead = PODS - 1;
  await Promise.all([...workers, watching].map((worker) => worker.run('lose', { pod: dead })));
  await watching.run('reset');
  const killedAt = micros();
  process.kill(pods[dead].pid, 'SIGKILL');
  await sleep(DEATH_MS);
  const gone = placed.filter(({ pod }) => pod === dead).map(({ user }) => user);
  return { gone, killedAt, told: await watching.run('told') };
}

async function run(stage, settings) {
  const { pods, nats, workers, watching, people } = stage;
  const { placed, ms: fillMs } = await fill(pods, workers, people.members);
  await sleep(SETTLE_MS);
  const perPod = people.watchers.length / PODS;
  const firsts = await watching.run('open', {
    room: ROOM,
    people: pods.map(({ listen }, pod) =>
      people.watchers.slice(pod * perPod, (pod + 1) * perPod).map((one) => ({ ...one, address: listen })),
    ),
  });
  await sleep(SETTLE_MS);
  const idle = await measure(pods, nats, () => sleep(IDLE_MS));
  await watching.run('reset');
  const busy = await measure(pods, nats, () => churn(stage, settings));
  const seen = await busy.result.coming;
  const log = (await Promise.all(busy.result.changing)).flat();
  await sleep(SETTLE_MS);
  const told = await watching.run('told');
  const expected = people.members.length + people.watchers.length;
  const figures = await Promise.all(pods.map(({ admin }) => scrape(admin)));
  const lag = (stat) => Math.max(...figures.map((one) => one.get(`loop_lag_seconds{stat="${stat}"}`))) * 1000;
  const ended = await death(stage, placed);
  const exact = settings.mode !== 'count';
  return {
    ...settings,
    fillMs,
    firsts,
    idle,
    busy: { ...busy, result: undefined },
    newcomers: {
      connect: percentiles(seen.map((one) => one.connectMs)),
      join: percentiles(seen.map((one) => one.joinMs)),
    },
    last: seen.at(-1),
    lag: { p99: lag('p99'), max: lag('max') },
    memory: pods.slice(0, -1).map(({ pid }) => residentBytes(pid)),
    changes: log.length,
    told: told.map(({ frames, bytes, modes, others }) => ({ frames, bytes, modes, others })),
    churn: compareChurn(log, told, expected, exact),
    death: compareDeath({ ...ended, expected, watchers: perPod, exact }),
  };
}

/** One mode, with batches of `batchMs` or without. */
export function cell(settings, people) {
  const { mode, batchMs, main } = settings;
  const config = {
    nats: {
      prefix: `bench${randomBytes(4).toString('hex')}`,
      shards: 1,
      streamBytes: '64MiB',
      cursorBytes: '1MiB',
      url: 'nats://127.0.0.1:1',
    },
    presence: { batchMs: `${batchMs}ms`, ...MODES[mode] },
  };
  return withBus('nats', config, async (start, _urls, nats) => {
    const pods = [];
    for (let at = 0; at < PODS; at++) {
      const pod = await start({ main });
      const known = new Set(pods.map(({ name }) => name));
      const { name } = (await linesOf(nats)).find((line) => !known.has(line.name));
      pods.push({ ...pod, name });
    }
    const workers = Array.from(
      { length: PROCESSES },
      () => new Worker(new URL('./members.mjs', import.meta.url)),
    );
    const watching = new Worker(new URL('./watchers.mjs', import.meta.url));
    try {
      return await run({ pods, nats, workers, watching, people }, settings);
    } finally {
      // First: what is closed by a drain is no news.
      await Promise.all([...workers, watching].map((worker) => worker.stop()));
    }
  });
}
