/** CPU time per message and latency of all targets, in turns, with so many rooms joined. */
import { NatsCluster } from '../../../test/support/nats/cluster.ts';
import { cpuSeconds } from '../../support/process.mjs';
import { median, sleep } from '../../support/stats.mjs';
import { roomNames, TARGETS } from './targets.mjs';

/** An idle pod has timers, audits and pings; what it costs is told, not subtracted. */
const IDLE_MS = 2000;

function cpuOf(pids) {
  return pids.map(cpuSeconds);
}

/** Seconds of CPU that each process used while `work` ran. */
async function during(pids, work) {
  const before = cpuOf(pids);
  const result = await work();
  const after = cpuOf(pids);
  return { result, cpu: after.map((seconds, at) => seconds - before[at]) };
}

async function sample({ target, pids }, servers, load) {
  const { result, cpu } = await during([...pids, ...servers], () => target.run(load));
  const each = cpu.map((seconds) => (seconds / result.published) * 1e6);
  const pods = each.slice(0, pids.length);
  return {
    published: result.published,
    seconds: result.seconds,
    publisherUs: pods[0],
    receiverUs: pods[1],
    podsUs: pods.reduce((sum, us) => sum + us, 0),
    serversUs: each.slice(pids.length).reduce((sum, us) => sum + us, 0),
    latencies: result.latencies,
  };
}

async function begin(name, setup) {
  const target = await TARGETS[name].start(setup);
  return { name, label: TARGETS[name].label, target, pids: target.pids, saturated: [], paced: [] };
}

export async function cost(kind, rooms, servers, settings) {
  const nats = await NatsCluster.start(servers);
  const natsPids = nats.servers.map(({ pid }) => pid);
  const setup = {
    urls: nats.urls,
    replicas: servers,
    kind,
    rooms: roomNames(kind, rooms),
    payloadBytes: settings.payloadBytes,
    main: settings.main,
  };
  const names = Object.keys(TARGETS).filter(
    (name) =>
      (settings.targets?.includes(name) ?? true) && (kind === 'durable' || !TARGETS[name].durableOnly),
  );
  const running = [];
  try {
    for (const name of names) running.push(await begin(name, setup));
    const saturated = { window: settings.window, seconds: settings.seconds };
    const paced = { rate: settings.rate, seconds: settings.seconds };
    for (const one of running) await one.target.run({ ...saturated, seconds: settings.warmUpSeconds });
    const idle = await during(
      running.flatMap(({ pids }) => pids),
      () => sleep(IDLE_MS),
    );
    let at = 0;
    for (const one of running) one.idle = one.pids.map(() => idle.cpu[at++] / (IDLE_MS / 1000));
    for (let round = 0; round < settings.rounds; round++) {
      for (const one of round % 2 === 0 ? running : [...running].reverse()) {
        const used = one.name === 'embedded' ? [] : natsPids;
        one.saturated.push(await sample(one, used, saturated));
        one.paced.push(await sample(one, used, paced));
      }
    }
  } finally {
    for (const { target } of running) await target.close();
    await nats.close();
  }
  return { kind, rooms, servers, targets: running.map((one) => summarise(one, running)) };
}

const FIGURES = ['publisherUs', 'receiverUs', 'podsUs', 'serversUs'];

function medians(samples) {
  const figures = FIGURES.filter((figure) => samples[0][figure] !== undefined);
  return {
    ...Object.fromEntries(figures.map((figure) => [figure, median(samples.map((one) => one[figure]))])),
    perSecond: median(samples.map(({ published, seconds }) => published / seconds)),
    published: samples.reduce((sum, { published }) => sum + published, 0),
    rounds: samples.map(({ latencies: _, ...figures }) => figures),
  };
}

/** The ratio within a round: neighbours in time share the machine's mood. */
function ratio(samples, others, figure) {
  if (samples[0][figure] === undefined || others?.[0][figure] === undefined) return undefined;
  return median(samples.map((one, round) => one[figure] / others[round][figure]));
}

function summarise({ name, label, idle, saturated, paced }, running) {
  const bare = running.find((other) => other.name === 'bare');
  const embedded = running.find((other) => other.name === 'embedded');
  const versus = (samples, mode) => ({
    ...medians(samples),
    publisherVsBare: ratio(samples, bare?.[mode], 'publisherUs'),
    receiverVsBare: ratio(samples, bare?.[mode], 'receiverUs'),
    podsVsEmbedded: ratio(samples, embedded?.[mode], 'podsUs'),
  });
  return {
    name,
    label,
    idleUsPerSecond: idle.map((seconds) => seconds * 1e6),
    saturated: versus(saturated, 'saturated'),
    paced: { ...versus(paced, 'paced'), latencyMs: latency(paced) },
  };
}

function latency(samples) {
  const sorted = samples.flatMap(({ latencies }) => latencies).sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] / 1000;
  // Other work on the machine shows in the tail of single rounds first.
  const p99s = samples.map(({ latencies }) => {
    const own = [...latencies].sort((a, b) => a - b);
    return own[Math.floor(0.99 * own.length)] / 1000;
  });
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), bestRoundP99: Math.min(...p99s) };
}
