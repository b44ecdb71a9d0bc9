/**
 * Does the broker serve? A few users join a durable and a live room, each publishes in turn, all see everything;
 * one leaves, comes back by its position and gets what it missed. Run by `npm run loadtest:smoke`.
 */
import { check } from 'k6';
import { Counter } from 'k6/metrics';
import { Chat, errors, gaps } from './lib/chat.js';

const URL = __ENV.CARILLON_URL;
const TOKENS = JSON.parse(__ENV.CARILLON_TOKENS);
const PUBLISHES = 10;
const LEAVE_AFTER = 5;

/** Journeys that reached their end with every check passed. */
const completed = new Counter('carillon_completed');

export const options = {
  scenarios: { smoke: { executor: 'per-vu-iterations', vus: 5, iterations: 2, maxDuration: '30s' } },
  thresholds: {
    checks: ['rate==1'],
    carillon_errors: ['count==0'],
    carillon_gaps: ['count==0'],
    carillon_completed: ['count==10'],
    carillon_latency: ['p(99)<500'],
  },
};

/** A metric without a sample is never held against its threshold. */
export function setup() {
  for (const counter of [errors, gaps, completed]) counter.add(0);
}

export default function journey() {
  const token = TOKENS[(__VU - 1) % TOKENS.length];
  const own = `smoke:${__VU}-${__ITER}`;
  let acked = 0;
  const position = { epoch: undefined, seq: undefined };
  const chat = new Chat(URL, token, {
    server_info(frame) {
      check(frame, {
        'server_info first, with its limits': ({ maxFrame, heartbeat }) => maxFrame > 0 && heartbeat > 0,
      });
      chat.join(own);
      chat.join('live:smoke');
    },
    joined(frame) {
      if (frame.room !== own) return;
      check(frame, { 'durable by its pattern': ({ durable }) => durable === true });
      position.epoch = frame.epoch;
      for (let n = 0; n < PUBLISHES; n++) chat.publish(own, { n }, `${own}-${n}`);
      chat.publish('live:smoke', { from: __VU });
    },
    event(frame) {
      if (frame.room === own && frame.payload.n === LEAVE_AFTER - 1) position.seq = frame.seq;
    },
    ack(frame) {
      if (frame.room === own && ++acked === PUBLISHES) chat.close();
    },
    closed() {
      check(acked, { 'every publish acked': (count) => count === PUBLISHES });
      comeBack(token, own, position);
    },
  });
}

function comeBack(token, room, since) {
  const missed = [];
  const chat = new Chat(URL, token, {
    server_info: () => chat.join(room, since),
    joined(frame) {
      check(frame, { 'resumed in full': ({ recovered }) => recovered === 'full' });
    },
    event: (frame) => missed.push(frame.payload.n),
    caught_up() {
      const wanted = Array.from({ length: PUBLISHES - LEAVE_AFTER }, (_, at) => LEAVE_AFTER + at);
      const complete = check(missed, { 'nothing missed': (got) => got.join() === wanted.join() });
      if (complete) completed.add(1);
      chat.close();
    },
  });
}
