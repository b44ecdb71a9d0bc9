/** One tenant that makes more fan-out than the broker can, beside ten that hardly say anything. */
import { withBus } from '../../support/buses.mjs';
import { scrape, total } from '../../support/metrics.mjs';
import { pinSelf } from '../../support/process.mjs';
import { LoadSocket } from '../../support/socket.mjs';
import { sleep } from '../../support/stats.mjs';
import { mint } from '../../support/token.mjs';

const QUIET = 10;
const RECEIVERS = 200;
const PUBLISHERS = 8;
const HOT_BYTES = 4000;
/** Publishes of each hot publisher on their way at once: as soon as one is answered, another one follows. */
const WINDOW = 60;
const BATCH = 10;
const OFF_MS = '10s';

async function member(broker, tenant, sub, frame) {
  const token = await mint(sub, { tenant });
  const address = { ...broker.listen, path: '/connect', protocol: 'chat.v1', token };
  const socket = new LoadSocket(address, { closed: (why) => console.error(`${tenant} ${sub}: ${why}`) });
  await socket.open();
  socket.walker.wants = frame !== undefined;
  if (frame) socket.onFrame(frame);
  return socket;
}

async function quietOnes(broker, latencies) {
  const pairs = [];
  for (let at = 0; at < QUIET; at++) {
    const reader = await member(broker, `quiet-${at}`, 'reader', (payload) => {
      for (const match of payload.toString().matchAll(/"payload":([0-9.]+)/g))
        latencies.push(performance.now() - Number(match[1]));
    });
    reader.send(JSON.stringify({ type: 'join', room: 'live:a' }));
    pairs.push({ reader, writer: await member(broker, `quiet-${at}`, 'writer') });
  }
  return pairs;
}

async function hotOnes(broker) {
  const receivers = [];
  for (let at = 0; at < RECEIVERS; at++) {
    const socket = await member(broker, 'hot', `reader-${at}`);
    socket.send(JSON.stringify({ type: 'join', room: 'live:hot', overflow: 'skip' }));
    receivers.push(socket);
  }
  const counts = { acked: 0, refused: 0, running: false };
  const publishers = [];
  const batch = JSON.stringify(
    Array.from({ length: BATCH }, () => ({ type: 'pub', room: 'live:hot', payload: 'x'.repeat(HOT_BYTES) })),
  );
  for (let at = 0; at < PUBLISHERS; at++) {
    let onTheirWay = 0;
    const fill = () => {
      for (; counts.running && onTheirWay <= WINDOW - BATCH; onTheirWay += BATCH) publisher.send(batch);
    };
    const publisher = await member(broker, 'hot', `publisher-${at}`, (payload) => {
      const answers = [JSON.parse(payload)].flat();
      const acks = answers.filter(({ type }) => type === 'ack').length;
      const errors = answers.filter(({ type }) => type === 'error').length;
      counts.acked += acks;
      counts.refused += errors;
      onTheirWay -= acks + errors;
      fill();
    });
    publishers.push({ end: () => publisher.end(), fill });
  }
  return { receivers, publishers, counts };
}

async function load({ pairs, hot, latencies, broker }, seconds, isHot) {
  let said = 0;
  let begun = performance.now();
  const run = async (until) => {
    begun = performance.now();
    said = 0;
    while (performance.now() - begun < until * 1000) {
      const elapsed = (performance.now() - begun) / 1000;
      for (; said < elapsed * 10 * QUIET; said++)
        pairs[said % QUIET].writer.send(
          JSON.stringify({ type: 'pub', room: 'live:a', payload: performance.now() }),
        );
      await sleep(5);
    }
  };
  hot.counts.running = isHot;
  for (const publisher of hot.publishers) publisher.fill();
  await run(2);
  await sleep(50);
  latencies.length = 0;
  hot.counts.acked = 0;
  const before = total(await scrape(broker.admin), 'fair_turns_total');
  await run(seconds);
  const took = (performance.now() - begun) / 1000;
  const acked = hot.counts.acked;
  hot.counts.running = false;
  const after = await scrape(broker.admin);
  await sleep(2000);
  const sorted = [...latencies].sort((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
  return {
    quiet: { p50: at(0.5), p99: at(0.99), max: at(1), lost: said - sorted.length },
    hot: acked / took,
    refused: hot.counts.refused,
    turns: total(after, 'fair_turns_total') - before,
    lag: (after.get('loop_lag_seconds{stat="p99"}') ?? 0) * 1000,
  };
}

function scenario({ main, seconds }, label, lagMs, isHot) {
  const config = { limits: { fairness: { ...(lagMs !== undefined && { lagMs }) } } };
  return withBus('memory', config, async (start) => {
    const broker = await start({ core: 0, main, env: { CARILLON_LIMITS: 'on' } });
    const latencies = [];
    const pairs = await quietOnes(broker, latencies);
    const hot = await hotOnes(broker);
    const result = await load({ pairs, hot, latencies, broker }, seconds, isHot);
    for (const { reader, writer } of pairs) for (const socket of [reader, writer]) socket.end();
    for (const socket of [...hot.receivers, ...hot.publishers]) socket.end();
    return { label, ...result };
  });
}

export async function fairness({ seconds, main }) {
  pinSelf(1);
  const settings = { main, seconds: Math.min(seconds, 8) };
  return [
    await scenario(settings, 'the hot one silent', undefined, false),
    await scenario(settings, 'overloaded, without fairness', OFF_MS, true),
    await scenario(settings, 'overloaded, with fairness', undefined, true),
  ];
}
