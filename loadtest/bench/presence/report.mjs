import { table } from '../../support/stats.mjs';
import { PODS } from './pods.mjs';

const ms = (value) => value.toFixed(1);
const kb = (value) => (value / 1000).toFixed(1);
const sum = (values) => values.reduce((total, value) => total + value, 0);
const range = (values, show = (value) => value) => {
  const [least, most] = [show(Math.min(...values)), show(Math.max(...values))];
  return least === most ? `${least}` : `${least} to ${most}`;
};
const percent = (value) => (value * 100).toFixed(0);
/** As shipped: heartbeats of 600 ms, nine of which may be missed. */
const KNOWN_MS = 6000;
const LATE_MS = 1000;

export function missedMarks({ mode, batchMs, churn, death, newcomers, busy }) {
  const lines = [];
  if (churn.wrong > 0) lines.push(`${churn.wrong} wrong in the churn; counts ${churn.counts.join(' ')}`);
  for (const { wrong, count } of death)
    if (wrong > 0) lines.push(`${wrong} wrong after the death; ${count} there`);
  const late = Math.max(...death.map((one) => one.ms));
  if (late > KNOWN_MS + LATE_MS) lines.push(`the leaves were known after ${ms(late)} ms`);
  if (newcomers.join.max > LATE_MS) lines.push(`a newcomer waited ${ms(newcomers.join.max)} ms`);
  if (Math.max(...busy.cpu) > 0.5) lines.push(`a broker used ${percent(Math.max(...busy.cpu))} % of a core`);
  return lines.map((line) => `${mode}, batches of ${batchMs} ms: ${line}`);
}

const lines = [
  [
    'frames a second to a watcher',
    (one) =>
      range(
        one.told.map(({ frames }) => frames / one.seconds),
        ms,
      ),
  ],
  [
    'KB a second to a watcher',
    (one) =>
      range(
        one.told.map(({ bytes }) => bytes / one.seconds),
        kb,
      ),
  ],
  [
    'modes of the frames',
    (one) => [...new Set(one.told.flatMap(({ modes }) => Object.keys(modes)))].join(' '),
  ],
  ['KB a second sent by a broker', (one) => range(one.busy.sent, kb)],
  ['KB a second received by a broker', (one) => range(one.busy.received, kb)],
  [
    '… without churn, sent / received',
    (one) => `${kb(sum(one.idle.sent) / PODS)} / ${kb(sum(one.idle.received) / PODS)}`,
  ],
  ['CPU of a broker, % of a core', (one) => range(one.busy.cpu, percent)],
  ['… without churn', (one) => range(one.idle.cpu, percent)],
  ['CPU of nats-server, %', (one) => percent(one.busy.natsCpu)],
  ['loop lag p99 / max, ms', (one) => `${ms(one.lag.p99)} / ${ms(one.lag.max)}`],
  [
    'change to told, p50 / p99 / max, ms',
    ({ churn: { latency } }) =>
      latency.n === 0 ? '' : `${ms(latency.p50)} / ${ms(latency.p99)} / ${ms(latency.max)}`,
  ],
  [
    'first watcher of a broker, join to joined, ms',
    (one) =>
      range(
        one.firsts.map(({ joinMs }) => joinMs),
        ms,
      ),
  ],
  ['… partial', (one) => one.firsts.filter(({ partial }) => partial).length],
  [
    'newcomer, join to joined, p50 / max, ms',
    ({ newcomers: { join } }) => `${ms(join.p50)} / ${ms(join.max)}`,
  ],
  [
    'newcomer, handshake, p50 / max, ms',
    ({ newcomers: { connect } }) => `${ms(connect.p50)} / ${ms(connect.max)}`,
  ],
  ['its joined: members listed, KB', ({ last }) => `${last.listed}, ${kb(last.bytes)}`],
  [
    'resident MiB of a broker',
    (one) =>
      range(
        one.memory.map((bytes) => bytes / 2 ** 20),
        (mib) => mib.toFixed(0),
      ),
  ],
  ['wrong or missing changes', ({ churn }) => churn.wrong],
  [
    'killed: its members known to have left after, ms',
    (one) =>
      range(
        one.death.map((each) => each.ms),
        ms,
      ),
  ],
  [
    '… frames to a watcher for it, KB',
    (one) =>
      `${range(one.death.map(({ frames }) => frames))}, ${range(
        one.death.map(({ bytes }) => bytes),
        kb,
      )}`,
  ],
  ['… wrong or missing leaves', (one) => sum(one.death.map(({ wrong }) => wrong))],
];

export function markdown(results, { members, watchers, rate, seconds }) {
  const head = [
    '',
    ...results.map(({ mode, batchMs }) => `${mode}, ${batchMs === 0 ? 'no batches' : `${batchMs} ms`}`),
  ];
  const rows = lines.map(([label, show]) => [label, ...results.map(show)]);
  return `### ${PODS} brokers, ${members} members of one room, ${watchers} watchers on each broker; ${rate} leave and ${rate} come a second, for ${seconds} s

${table([head, ...rows])}
`;
}
