import { table } from '../../support/stats.mjs';
import { BURST, boundOf, CONNECTIONS, LEASE_MS, PODS, RATE, SKEW_MS } from './pods.mjs';

const sum = (values) => values.reduce((total, value) => total + value, 0);
const seconds = (ms) => (ms === undefined ? 'never' : `${(ms / 1000).toFixed(1)} s`);
/** Looks at the store, a sample and a write after the lease. */
const SETTLE_MS = 3000;

/** The most that may be accepted in this time. */
const mostIn = (took) => boundOf(RATE) * took + BURST;

export function missedMarks({ rated, crowded, died }) {
  const lines = [];
  if (rated.accepted > mostIn(rated.took)) lines.push(`${rated.accepted} accepted in ${rated.took} s`);
  if (rated.accepted < RATE * rated.took * 0.9)
    lines.push(`only ${rated.accepted} accepted in ${rated.took} s`);
  if (sum(crowded.accepted) > boundOf(CONNECTIONS)) lines.push(`${crowded.accepted} connections`);
  if (died.peak > boundOf(CONNECTIONS)) lines.push(`${died.peak} connections after the death`);
  for (const [what, ms] of [
    ['connections', died.full],
    ['rate', died.rateBack],
  ])
    if (ms === undefined || ms > LEASE_MS + SKEW_MS + SETTLE_MS)
      lines.push(`${what} back after ${seconds(ms)}`);
  return lines;
}

export function quotasMarkdown({ rated, crowded, died }) {
  const perPod = Array.from({ length: PODS }, (_, at) => sum(rated.seconds.map((each) => each?.[at] ?? 0)));
  const steady = rated.seconds.slice(3, -1).map(sum);
  const rows = [
    ['publishes', rated.offered, rated.accepted, Math.floor(mostIn(rated.took)), perPod.join(' ')],
    [
      'connections',
      crowded.attempts,
      sum(crowded.accepted),
      boundOf(CONNECTIONS),
      crowded.accepted.join(' '),
    ],
  ];
  return `### ${PODS} brokers, ${RATE} publishes a second (burst ${BURST}) and ${CONNECTIONS} connections, ten times as many wanted

${table([['', 'offered', 'accepted', 'bound', 'by broker'], ...rows])}

- ${rated.took.toFixed(1)} s; from the fourth second on ${Math.min(...steady)} to ${Math.max(...steady)} accepted a second
- ${rated.refused} refused as rate_limited, ${rated.other} otherwise; ${rated.leases} writes of leases meanwhile: one per ${Math.round(rated.offered / Math.max(1, rated.leases))} publishes offered
- killed with -9: a broker with ${died.lost} connections of the crowd. The others had ${CONNECTIONS} together after ${seconds(died.full)} (lease ${LEASE_MS / 1000} s + skew ${SKEW_MS / 1000} s), never more than ${died.peak}
- accepted a second before it: ${died.before.join(' ')}; after it: ${died.after.join(' ')}; at least ${RATE * 0.97} again after ${seconds(died.rateBack)}
`;
}

export function fairnessMarkdown(results) {
  const ms = (value) => value.toFixed(1);
  const rows = results.map(({ label, quiet, hot, refused, lag, turns }) => [
    label,
    ms(quiet.p50),
    ms(quiet.p99),
    ms(quiet.max),
    quiet.lost,
    Math.round(hot),
    refused,
    turns,
    ms(lag),
  ]);
  const head = [
    'publish to receive of ten quiet tenants, ms',
    'p50',
    'p99',
    'max',
    'lost',
    'hot publishes a second',
    'refused',
    'turns shared',
    'loop lag p99',
  ];
  return `### One hot and ten quiet tenants on one broker\n\n${table([head, ...rows])}\n`;
}
