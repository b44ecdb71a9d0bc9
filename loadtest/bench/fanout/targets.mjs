/** What is measured: each target is a server, and how its clients subscribe and publish. */
import { createServer } from 'node:http';
import { pack } from 'msgpackr';
import { startBroker, startServer } from '../../support/process.mjs';
import { mint } from '../../support/token.mjs';
import { BINARY, clientFrame, TEXT } from '../../support/wire.mjs';

/**
 * Every payload starts so; the sink counts and orders events by it, whatever encoding surrounds it. Long enough that
 * no binary number of a MessagePack frame looks like it.
 */
export const MARK = '~#event#~';
export const DIGITS = 9;

/** JSON text of exactly `bytes` bytes: a string with the mark, the number of the message and filling. */
export function payloadText(number, bytes) {
  const value = `${MARK}${String(number).padStart(DIGITS, '0')}`;
  return `"${value.padEnd(bytes - 2, 'x')}"`;
}

function bare(name, file) {
  return {
    name,
    label: name === 'deferred' ? 'bare, deferred' : 'bare, in handler',
    start: (options) => startServer(name, [`loadtest/bench/fanout/bare/${file}`], options),
    subscriberPath: '/',
    publisherPath: '/publish',
    protocol: undefined,
    token: async () => undefined,
    join: undefined,
    publish: (text) => clientFrame(Buffer.from(text), TEXT),
  };
}

/** Every limit counted, none reached. */
const ALL_LIMITS = {
  CARILLON_LIMITS: 'on',
  CARILLON_LIMITS__OPERATIONS__PER_SECOND: '1000000000',
  CARILLON_LIMITS__OPERATIONS__BURST: '1000000000',
  CARILLON_TENANTS__DEFAULT__PUBLISH__PER_SECOND: '1000000000',
  CARILLON_TENANTS__DEFAULT__PUBLISH_BYTES__PER_SECOND: '1024GiB',
  CARILLON_TENANTS__DEFAULT__BYTES_PER_DAY: '1024GiB',
  CARILLON_TENANTS__DEFAULT__DELIVERIES_PER_SECOND: '1000000000',
};

function carillon(name, label, room, binary, env = {}) {
  const encode = (frame) =>
    binary ? clientFrame(pack(frame), BINARY) : clientFrame(Buffer.from(JSON.stringify(frame)), TEXT);
  return {
    name,
    label,
    start: (options) => startBroker({ ...options, env }),
    subscriberPath: '/connect',
    publisherPath: '/connect',
    protocol: binary ? 'chat.v1.msgpack' : 'chat.v1',
    token: () => mint('bench'),
    join: encode({ type: 'join', room }),
    publish: binary
      ? (text) => encode({ type: 'pub', room, payload: JSON.parse(text) })
      : (text) => clientFrame(Buffer.from(`{"type":"pub","room":"${room}","payload":${text}}`), TEXT),
  };
}

/** Follows a share of the publishes; a collector in this process takes the spans. */
function traced(name, label, sample) {
  const target = carillon(name, label, 'live:bench', false);
  const start = async (options) => {
    const sink = createServer((request, response) => {
      request.resume().on('end', () => response.end('{}'));
    });
    await new Promise((resolve) => sink.listen(0, '127.0.0.1', resolve));
    const env = {
      CARILLON_TRACING__ENDPOINT: `http://127.0.0.1:${sink.address().port}/v1/traces`,
      CARILLON_TRACING__SAMPLE: String(sample),
      CARILLON_TRACING__PER_SECOND: '100000',
    };
    const broker = await startBroker({ ...options, env });
    const stop = async () => {
      await broker.stop();
      sink.close();
      sink.closeAllConnections();
    };
    return { ...broker, stop };
  };
  return { ...target, start };
}

/** Another build, to compare with: BENCH_BEFORE=/path/to/dist/main.js. */
function before() {
  const target = carillon('before', 'Carillon, BENCH_BEFORE', 'live:bench', false);
  const main = process.env.BENCH_BEFORE;
  if (main === undefined) return target;
  return { ...target, start: (options) => startBroker({ ...options, main, env: {} }) };
}

export const TARGETS = {
  deferred: bare('deferred', 'deferred.mjs'),
  carillon: carillon('carillon', 'Carillon, live room', 'live:bench', false),
  handler: bare('handler', 'handler.mjs'),
  durable: carillon('durable', 'Carillon, durable room', 'bench', false),
  limits: carillon('limits', 'Carillon, all limits on', 'live:bench', false, ALL_LIMITS),
  before: before(),
  'traced-1': traced('traced-1', 'Carillon, 1 % traced', 0.01),
  'traced-100': traced('traced-100', 'Carillon, all traced', 1),
  msgpack: carillon('msgpack', 'Carillon, live, MessagePack', 'live:bench', true),
};

/** The project's promise: deliveries per server-CPU second against a bare server, in the same run. */
export const ACCEPTANCE = [
  { scenario: 'saturated-1000', versus: 'deferred', atLeast: 1.0 },
  { scenario: 'saturated-1000', versus: 'handler', atLeast: 8 },
  { scenario: 'paced10-1000', versus: 'deferred', atLeast: 0.95 },
  { scenario: 'saturated-100', versus: 'deferred', atLeast: 0.85 },
  { scenario: 'limits-10', target: 'limits', versus: 'carillon', atLeast: 0.9 },
  { scenario: 'limits-1000', target: 'limits', versus: 'carillon', atLeast: 0.9 },
];

export const SCENARIOS = {
  'saturated-1000': { subscribers: 1000, targets: ['deferred', 'carillon', 'handler', 'durable', 'msgpack'] },
  'paced10-1000': {
    subscribers: 1000,
    paced: { burst: 10, everyMs: 10 },
    // One system call per subscriber and turn is nearly all there is: the difference is smaller than the noise of a round.
    roundsTimes: 2,
    targets: ['deferred', 'carillon', 'durable', 'msgpack'],
  },
  /** What the limits cost: hardly anything else is done for a message. */
  'limits-10': { subscribers: 10, base: 'carillon', targets: ['carillon', 'limits'] },
  'limits-1000': { subscribers: 1000, base: 'carillon', targets: ['carillon', 'limits'] },
  /** What tracing costs: `before` is the same as `carillon` unless BENCH_BEFORE names a build without it. */
  'tracing-10': {
    subscribers: 10,
    base: 'before',
    targets: ['before', 'carillon', 'traced-1', 'traced-100'],
  },
  'tracing-1000': {
    subscribers: 1000,
    base: 'before',
    targets: ['before', 'carillon', 'traced-1', 'traced-100'],
  },
  'saturated-100': { subscribers: 100, targets: ['deferred', 'carillon', 'durable', 'msgpack'] },
};
