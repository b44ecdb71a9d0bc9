/** What forged tokens do to clients that chat and to clients that connect. loadtest/README.md says how to read it. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { SignJWT } from 'jose';
import { withBus } from '../../support/buses.mjs';
import { scrape } from '../../support/metrics.mjs';
import { cpuSeconds, pinSelf } from '../../support/process.mjs';
import { LoadSocket } from '../../support/socket.mjs';
import { sleep, table } from '../../support/stats.mjs';
import { Worker } from '../../support/worker.mjs';

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '8' },
    rate: { type: 'string', default: '10000' },
    clients: { type: 'string', default: '50' },
    main: { type: 'string', default: 'dist/main.js' },
    markdown: { type: 'string' },
  },
});
const seconds = Number(flags.seconds);
const rate = Number(flags.rate);
const ROOM = 'live:lobby';
const MESSAGES_PER_SECOND = 50;
const CONNECTS_PER_SECOND = 10;

const pair = generateKeyPairSync('ed25519');
const CONFIG = {
  trustedProxies: 1,
  auth: { keys: [{ kid: 'ed', alg: 'EdDSA', jwk: pair.publicKey.export({ format: 'jwk' }) }] },
};

/** First seen each, and signed by the issuer's key: the dearest that a good client can bring. */
function mint(sub) {
  return new SignJWT({ rooms: [{ match: '**', allow: ['join', 'pub'] }] })
    .setProtectedHeader({ alg: 'EdDSA', kid: 'ed' })
    .setIssuedAt()
    .setSubject(sub)
    .setExpirationTime('1h')
    .sign(pair.privateKey);
}

const ATTACKS = [
  ['no flood', undefined],
  ['HS256, forged; from 10,000 addresses', { alg: 'HS256', kid: 'env', addresses: 10_000 }],
  ['an unknown kid; from 10,000 addresses', { alg: 'EdDSA', kid: 'nobody', addresses: 10_000 }],
  ['EdDSA, forged; from 10,000 addresses', { alg: 'EdDSA', kid: 'ed', addresses: 10_000 }],
  ['EdDSA, forged; from one address', { alg: 'EdDSA', kid: 'ed', addresses: 1 }],
];

function percentile(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

async function chatters(broker) {
  const latencies = [];
  const sockets = [];
  for (let at = 0; at < Number(flags.clients); at++) {
    const token = await mint(`chatter-${at}`);
    const socket = new LoadSocket(
      { ...broker.listen, path: '/connect', protocol: 'chat.v1', token },
      {
        closed: (why) => {
          throw new Error(`a chatter: ${why}`);
        },
      },
    );
    await socket.open();
    socket.walker.wants = true;
    socket.onFrame((payload) => {
      for (const match of payload.toString().matchAll(/"payload":([0-9.]+)/g))
        latencies.push(performance.now() - Number(match[1]));
    });
    socket.send(JSON.stringify({ type: 'join', room: ROOM }));
    sockets.push(socket);
  }
  return { latencies, sockets };
}

/** Milliseconds to the answer of each, and how many were not let in. */
async function newcomer(broker, at, result) {
  const token = await mint(`newcomer-${at}`);
  const begun = performance.now();
  const socket = new LoadSocket(
    { ...broker.listen, path: '/connect', protocol: 'chat.v1', token },
    { closed: () => undefined },
  );
  try {
    await socket.open();
    result.times.push(performance.now() - begun);
  } catch {
    result.refused++;
  } finally {
    socket.end();
  }
}

async function measure(broker, chat, attack) {
  const worker = new Worker(new URL('./attacker.mjs', import.meta.url));
  if (attack) await worker.run('flood', { ...broker.listen, ...attack, rate });
  await sleep(1500);
  if (attack) await worker.run('stop').then(() => worker.run('flood', { ...broker.listen, ...attack, rate }));
  chat.latencies.length = 0;
  const newcomers = { times: [], refused: 0 };
  const cpu = cpuSeconds(broker.pid);
  const begun = performance.now();
  let sent = 0;
  let came = 0;
  const coming = [];
  while (performance.now() - begun < seconds * 1000) {
    const elapsed = (performance.now() - begun) / 1000;
    for (; sent < elapsed * MESSAGES_PER_SECOND; sent++) {
      const socket = chat.sockets[sent % chat.sockets.length];
      socket.send(JSON.stringify({ type: 'pub', room: ROOM, payload: performance.now() }));
    }
    for (; came < elapsed * CONNECTS_PER_SECOND; came++)
      coming.push(newcomer(broker, `${begun}-${came}`, newcomers));
    await sleep(5);
  }
  const took = (performance.now() - begun) / 1000;
  const used = cpuSeconds(broker.pid) - cpu;
  const answers = attack ? await worker.run('stop') : {};
  worker.stop();
  await Promise.all(coming);
  await sleep(1000);
  const expected = sent * chat.sockets.length;
  return {
    took,
    used,
    answers,
    newcomers,
    latencies: [...chat.latencies],
    lost: expected - chat.latencies.length,
  };
}

/** @param idle CPU seconds per second without a flood. */
function row(label, { took, used, answers, newcomers, latencies, lost }, idle) {
  const all = Object.values(answers).reduce((sum, count) => sum + count, 0);
  const share = Object.entries(answers).map(
    ([status, count]) => `${Math.round((100 * count) / all)} % ${status}`,
  );
  const ms = (values, part) => percentile(values, part).toFixed(1);
  return [
    label,
    (all / took).toFixed(0),
    share.join(', ') || '-',
    ms(latencies, 0.5),
    ms(latencies, 0.99),
    lost,
    ms(newcomers.times, 0.99),
    newcomers.refused,
    `${((100 * used) / took).toFixed(0)} %`,
    all === 0 ? '-' : ((1e6 * (used - idle * took)) / all).toFixed(0),
  ];
}

pinSelf(1);
const HEAD = [
  'forged tokens',
  'a second',
  'answered',
  'chat p50, ms',
  'p99',
  'lost',
  'connect p99, ms',
  'refused',
  'broker CPU',
  'us of CPU each',
];
await withBus('memory', CONFIG, async (start) => {
  const broker = await start({ core: 0, main: flags.main, env: { CARILLON_LIMITS: 'on' } });
  const chat = await chatters(broker);
  const rows = [];
  let idle;
  for (const [label, attack] of ATTACKS) {
    const result = await measure(broker, chat, attack);
    idle ??= result.used / result.took;
    rows.push(row(label, result, idle));
    await sleep(1000);
  }
  const lag = (await scrape(broker.admin)).get('loop_lag_seconds{stat="max"}') ?? 0;
  const text = `${table([HEAD, ...rows])}\n\nLongest turn of the last seconds: ${(lag * 1000).toFixed(1)} ms.\n`;
  console.log(text);
  if (flags.markdown !== undefined) {
    mkdirSync(dirname(flags.markdown), { recursive: true });
    writeFileSync(flags.markdown, text);
  }
  for (const socket of chat.sockets) socket.end();
});
process.exit(0);
