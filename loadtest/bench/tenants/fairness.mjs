/** One tenant that makes more fan-out than the broker can, beside ten that hardly say anything. */
import { withBus } from '../../support/buses.mjs';
import { scrape, total } from '../../support/metrics.mjs';
import { pinSelf } from '../../support/process.mjs';
import { LoadSocket } from '../../support/socket.mjs';
import { sleep } from '../../support/stats.mjs';
import { mint } from '../../support/token.mjs';
import { Worker } from '../../support/worker.mjs';

const QUIET = 10;
/** Of each quiet tenant. */
const MESSAGES_PER_SECOND = 10;
const RECEIVERS = 200;
const PUBLISHERS = 8;
const HOT_BYTES = 4000;
/** No turn is so long: tenants never take turns. */
const OFF_MS = '10s';

async function member(broker, tenant, sub) {
  const token = await mint(sub, { tenant });
  const address = { ...broker.listen, path: '/connect', protocol: 'chat.v1', token };
  const socket = new LoadSocket(address, { closed: (why) => console.error(`${tenant} ${sub}: ${why}`) });
  await socket.open();
  return socket;
}

async function quietOnes(broker, latencies) {
  const pairs = [];
  for (let at = 0; at < QUIET; at++) {
    const reader = await member(broker, `quiet-${at}`, 'reader');
    reader.walker.wants = true;
    reader.onFrame((payload) => {
      for (const [, sent] of payload.toString().matchAll(/"payload":([0-9.]+)/g))
        latencies.push(performance.now() - Number(sent));
    });
    reader.send(JSON.stringify({ type: 'join', room: 'live:a' }));
    pairs.push({ reader, writer: await member(broker, `quiet-${at}`, 'writer') });
  }
  return pairs;
}

/** A process of its own: what it has to read must not hold up those whose latency is measured. */
async function hotOnes(broker) {
  const worker = new Worker(new URL('./hot.mjs', import.meta.url));
  const tokens = (count, name) =>
    Promise.all(Array.from({ length: count }, (_, at) => mint(`${name}-${at}`, { tenant: 'hot' })));
  const [receivers, publishers] = [await tokens(RECEIVERS, 'reader'), await tokens(PUBLISHERS, 'publisher')];
  await worker.run('open', { address: broker.listen, receivers, publishers, bytes: HOT_BYTES });
  return worker;
}

async function talk(pairs, seconds) {
  const begun = performance.now();
  let said = 0;
  for (let elapsed = 0; elapsed < seconds; elapsed = (performance.now() - begun) / 1000) {
    for (; said < elapsed * MESSAGES_PER_SECOND * QUIET; said++)
      pairs[said % QUIET].writer.send(
        JSON.stringify({ type: 'pub', room: 'live:a', payload: performance.now() }),
      );
    await sleep(5);
  }
  return { said, took: (performance.now() - begun) / 1000 };
}

async function load({ broker, pairs, hot, latencies }, seconds, isHot) {
  if (isHot) await hot.run('start');
  const warm = await talk(pairs, 2);
  const [before, hotBefore] = [await scrape(broker.admin), await hot.run('counts')];
  const { said, took } = await talk(pairs, seconds);
  const [after, hotAfter] = [await scrape(broker.admin), await hot.run('counts')];
  await sleep(3000);
  await hot.run('stop');
  const lost = warm.said + said - latencies.length;
  const sorted = latencies.slice(warm.said).sort((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
  return {
    quiet: { p50: at(0.5), p99: at(0.99), max: at(1), lost },
    hot: (hotAfter.acked - hotBefore.acked) / took,
    refused: hotAfter.refused - hotBefore.refused,
    turns: total(after, 'fair_turns_total') - total(before, 'fair_turns_total'),
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
    const result = await load({ broker, pairs, hot, latencies }, seconds, isHot);
    for (const { reader, writer } of pairs) for (const socket of [reader, writer]) socket.end();
    hot.stop();
    return { label, ...result };
  });
}

export async function fairness({ seconds, main }) {
  pinSelf(1);
  const settings = { main, seconds: Math.min(seconds, 8) };
  const results = [await scenario(settings, 'the hot one silent', undefined, false)];
  for (const [label, lagMs] of [
    ['overloaded, without fairness', OFF_MS],
    ['overloaded, with fairness', undefined],
  ])
    results.push(await scenario(settings, label, lagMs, true));
  return results;
}
