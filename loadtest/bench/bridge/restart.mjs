/** Very many rooms in one pod: memory, time to join, and a restart of nats-server under it. */
import { NatsCluster } from '../../../test/support/nats/cluster.ts';
import { cpuSeconds, residentBytes, startBroker } from '../../support/process.mjs';
import { LoadSocket } from '../../support/socket.mjs';
import { sleep } from '../../support/stats.mjs';
import { mint } from '../../support/token.mjs';
import { clientFrame, TEXT } from '../../support/wire.mjs';
import { MemoryProbe } from '../connections/probe.mjs';
import { Members, ROOMS_EACH } from './members.mjs';
import { until, Vitals } from './vitals.mjs';

const SETTLE_MS = 3000;
const AWAY_MS = 1000;
/** Streams of the broker, and looks that an audit takes at each of them after a reconnect. */
const SHARDS = 8;
const LOOKS = 3;
const LATEST_MS = 120_000;
/** An audit that NATS has not answered is not counted: it is told that there were too few, and the run goes on. */
const AUDITED_MS = 45_000;
const BATCH = 100;
/** Publishes of the bench that are not acknowledged yet. */
const WINDOW = 500;
const QUIET_LOOKS = 50;
const PREFIX = { live: 'live:own', durable: 'own' };

async function withRooms(pod, kind, rooms) {
  const probe = await MemoryProbe.attach(pod);
  const before = await probe.read();
  const cpu = cpuSeconds(pod.pid);
  const started = performance.now();
  const members = await Members.open(pod, PREFIX[kind], rooms);
  const joinSeconds = (performance.now() - started) / 1000;
  const joinCpuSeconds = cpuSeconds(pod.pid) - cpu;
  const { refused } = await members.counts();
  await sleep(SETTLE_MS);
  const after = await probe.read();
  return { members, probe, memory: { before, after }, joinSeconds, joinCpuSeconds, refused };
}

const NODE_ARGS = ['--inspect=127.0.0.1:0'];

/** Without an event in the store there is nothing to audit. */
async function fill(publisher, kind, rooms, members, probe) {
  const sent = await toAll(publisher, kind, rooms, members, 'fill');
  await sleep(SETTLE_MS);
  const memory = await probe.read();
  probe.close();
  return { ...sent, memory };
}

async function embedded(kind, { restartRooms: rooms, main }) {
  const pod = await startBroker({ main, nodeArgs: NODE_ARGS });
  try {
    const { members, probe, ...figures } = await withRooms(pod, kind, rooms);
    const filled = await fill(pod, kind, rooms, members, probe);
    members.close();
    return { ...figures, filled };
  } finally {
    await pod.stop();
  }
}

/** One message into every room, from the other pod: a room that has lost its subscription does not get it. */
async function toAll(pod, kind, rooms, members, round) {
  const before = (await members.counts()).events;
  const faults = [];
  let acked = 0;
  const address = { ...pod.listen, path: '/connect', protocol: 'chat.v1', token: await mint('bench') };
  const publisher = new LoadSocket(address, {
    closed: (why) => faults.push(why),
    frame: (payload) => {
      const text = payload.toString('latin1');
      if (text.includes('"error"')) faults.push(text);
      acked += text.split('"ack"').length - 1;
    },
  });
  publisher.walker.wants = true;
  await publisher.open();
  const started = performance.now();
  for (let sent = 0; sent < rooms; ) {
    const size = Math.min(BATCH, rooms - sent);
    const frames = Array.from({ length: size }, (_, n) => message(kind, sent + n, round));
    publisher.send(Buffer.concat(frames));
    sent += size;
    await until(LATEST_MS, 1, async () => acked > sent - WINDOW || faults.length > 0);
  }
  const reached = await arrivals(members, before, rooms);
  publisher.end();
  return { published: rooms, acked, reached, seconds: (performance.now() - started) / 1000, faults };
}

function message(kind, at, round) {
  const room = `${PREFIX[kind]}:${Math.floor(at / ROOMS_EACH)}:${at % ROOMS_EACH}`;
  const text = `{"type":"pub","room":"${room}","msgId":"${round}-${at}","payload":"${'x'.repeat(98)}"}`;
  return clientFrame(Buffer.from(text), TEXT);
}

/** How many events have come once all have, or no more come. */
async function arrivals(members, before, rooms) {
  let reached = -1;
  for (let stillFor = 0; reached < rooms && stillFor < QUIET_LOOKS; ) {
    await sleep(100);
    const now = (await members.counts()).events - before;
    stillFor = now === reached ? stillFor + 1 : 0;
    reached = now;
  }
  return reached;
}

async function again(kind, rooms, nats, pod, other, members) {
  const server = nats.server(0);
  const vitals = new Vitals(pod.admin);
  const start = await vitals.read();
  await server.stop();
  const away = await until(LATEST_MS, 20, async () => (await vitals.read()).connected === 0);
  const stopped = await vitals.read();
  await sleep(AWAY_MS);
  await server.start();
  await server.ready();
  const ready = performance.now();
  const since = () => (performance.now() - ready) / 1000;
  const cpu = cpuSeconds(pod.pid);
  const natsCpu = () => cpuSeconds(server.pid);
  const base = stopped.audits ?? 0;
  const times = {};
  const mark = (name, reached) => {
    if (reached) times[name] ??= since();
  };
  const timeline = [];
  await until(AUDITED_MS, 50, async () => {
    const now = await vitals.read();
    const { subscriptions } = await server.monitor('/varz');
    const audits = now.audits - base;
    if (audits !== timeline.at(-1)?.audits) timeline.push({ seconds: since(), audits });
    mark('connected', now.connected === 1);
    mark('resubscribed', subscriptions >= rooms);
    mark('auditedOnce', kind === 'live' || audits >= SHARDS);
    mark('auditedThrice', kind === 'live' || audits >= SHARDS * LOOKS);
    mark('up', now.state === 2);
    return Object.keys(times).length === 5 || since() * 1000 > AUDITED_MS - 1000;
  });
  const cpuAfter = cpuSeconds(pod.pid) - cpu;
  const end = await vitals.read();
  return {
    awaySeenAfterMs: away,
    readyzWhileAway: stopped.readyz,
    start,
    times,
    timeline,
    log: pod.tail.filter((line) => line.startsWith('{')).slice(-20),
    podCpuSeconds: cpuAfter,
    natsCpuSeconds: natsCpu(),
    slowestMetricsMs: vitals.slowestMs,
    end,
    proof: await toAll(other, kind, rooms, members, 'again'),
    clients: await members.counts(),
  };
}

export async function restart(kind, settings) {
  const rooms = settings.restartRooms;
  const alone = await embedded(kind, settings);
  console.error(`${kind}: embedded bus measured`);
  const nats = await NatsCluster.start(1);
  const env = { CARILLON_NATS_URL: nats.urls.join(',') };
  const pods = [];
  try {
    for (let at = 0; at < 2; at++)
      pods.push(await startBroker({ main: settings.main, nodeArgs: NODE_ARGS, env }));
    const [pod, other] = pods;
    const natsBefore = residentBytes(nats.server(0).pid);
    const natsCpu = cpuSeconds(nats.server(0).pid);
    const { members, probe, ...figures } = await withRooms(pod, kind, rooms);
    const server = {
      cpuSeconds: cpuSeconds(nats.server(0).pid) - natsCpu,
      bytes: residentBytes(nats.server(0).pid) - natsBefore,
    };
    console.error(
      `${kind}: joined in ${figures.joinSeconds.toFixed(1)} s, ${figures.refused} refused for now`,
    );
    const filled = await fill(other, kind, rooms, members, probe);
    console.error(`${kind}: ${filled.reached} arrived in ${filled.seconds.toFixed(1)} s`);
    const after = await again(kind, rooms, nats, pod, other, members);
    members.close();
    return { kind, rooms, alone, nats: { ...figures, filled }, server, restart: after };
  } finally {
    for (const pod of pods) await pod.stop();
    await nats.close();
  }
}
