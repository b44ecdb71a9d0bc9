/**
 * Fan-out with whole clients: subscribers of one room on sockets of their own, publishers at a fixed rate, every
 * receiver checks the prev chain of all it gets. Run by `npm run loadtest:fanout`; sizes come from the environment.
 */
import { Chat, errors, events, gaps, published } from './lib/chat.js';

const URL = __ENV.CARILLON_URL;
const TOKENS = JSON.parse(__ENV.CARILLON_TOKENS);
const SUBSCRIBERS = Number(__ENV.LOAD_SUBSCRIBERS || 100);
const PUBLISHERS = Number(__ENV.LOAD_PUBLISHERS || 2);
/** Messages per second of each publisher. */
const RATE = Number(__ENV.LOAD_RATE || 25);
const SECONDS = Number(__ENV.LOAD_SECONDS || 10);
const ROOM = __ENV.LOAD_ROOM || 'bench:k6';
const PAYLOAD_BYTES = Number(__ENV.LOAD_PAYLOAD_BYTES || 100);
const P99_MS = Number(__ENV.LOAD_P99_MS || 250);
/** Subscribers join first and stay until the last event has had time to arrive. */
const JOIN_SECONDS = 3;
const LINGER_SECONDS = 2;

const expected = SUBSCRIBERS * PUBLISHERS * RATE * SECONDS;
const filling = 'x'.repeat(PAYLOAD_BYTES);

export const options = {
  scenarios: {
    subscribers: { executor: 'per-vu-iterations', vus: SUBSCRIBERS, iterations: 1, exec: 'subscribe' },
    publishers: {
      executor: 'per-vu-iterations',
      vus: PUBLISHERS,
      iterations: 1,
      startTime: `${JOIN_SECONDS}s`,
      exec: 'publish',
    },
  },
  thresholds: {
    carillon_errors: ['count==0'],
    carillon_gaps: ['count==0'],
    // A slow machine may fall behind the rate; what was published has to arrive, which the chain check proves.
    carillon_published: [`count>=${Math.floor(PUBLISHERS * RATE * SECONDS * 0.9)}`],
    carillon_events: [`count>=${Math.floor(expected * 0.9)}`],
    carillon_latency: [`p(99)<${P99_MS}`],
  },
};

/** A metric without a sample is never held against its threshold. */
export function setup() {
  for (const counter of [errors, gaps, events, published]) counter.add(0);
}

function token() {
  return TOKENS[__VU % TOKENS.length];
}

export function subscribe() {
  const chat = new Chat(URL, token(), { server_info: () => chat.join(ROOM) });
  setTimeout(() => chat.close(), (JOIN_SECONDS + SECONDS + LINGER_SECONDS) * 1000);
}

export function publish() {
  let left = RATE * SECONDS;
  const chat = new Chat(URL, token(), {
    server_info() {
      const timer = setInterval(() => {
        chat.publish(ROOM, { filling });
        if (--left > 0) return;
        clearInterval(timer);
        setTimeout(() => chat.close(), 500);
      }, 1000 / RATE);
    },
  });
}
