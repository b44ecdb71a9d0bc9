import { check } from '../chaos/checker.ts';
import { percentiles, table } from '../support/stats.mjs';

const ms = (value) => value.toFixed(1);
const sum = (values) => values.reduce((total, value) => total + value, 0);
const SECOND = 1000;

/** By whole second since the start: what came back, and how late events were for the bystanders. */
export function curve({ startedAt, until, facts, latencies }) {
  const seconds = Math.ceil((until - startedAt) / SECOND) + 1;
  const rows = Array.from({ length: seconds }, (_, second) => ({ second, lost: 0, back: 0, latencies: [] }));
  const row = (at) => rows[Math.floor((at - startedAt) / SECOND)];
  for (const { lostAt, openAt } of facts.flatMap(({ returns }) => returns)) {
    const [from, to] = [row(lostAt), row(openAt)];
    if (from) from.lost++;
    if (to) to.back++;
  }
  for (const [at, late] of latencies) row(at)?.latencies.push(late);
  return rows.map(({ latencies: all, ...rest }) => ({ ...rest, latency: percentiles(all) }));
}

/** What was promised, and whether it held. */
export function judge(run, rows) {
  const { published, stored, facts, watched, users, settled, windows, calmTo, startedAt, until, latencies } =
    run;
  const verdict = check({ published, stored, told: facts.flatMap(({ told }) => told) });
  const left = watched.flatMap((one) => one.left);
  const returns = facts.flatMap((one) => one.returns);
  const within = (from, to) =>
    percentiles(latencies.filter(([at]) => at >= from && at < to).map(([, late]) => late));
  return {
    verdict,
    falseLeaves: left.length,
    firstFalse: left.slice(0, 5).map(([user, at]) => `${user} at ${ms((at - startedAt) / SECOND)} s`),
    counts: watched.map(({ count }) => count),
    missing: sum(watched.map(({ members }) => users - members.length)),
    notBack: users - settled,
    reconnects: returns.length,
    tries: percentiles(returns.map(({ attempts }) => attempts)),
    down: percentiles(returns.map(({ lostAt, openAt }) => openAt - lostAt)),
    caughtUp: percentiles(
      returns.filter((one) => one.caughtUpAt).map(({ lostAt, caughtUpAt }) => caughtUpAt - lostAt),
    ),
    peak: Math.max(...rows.map(({ back }) => back)),
    resumed: sum(facts.map((one) => one.resumed)),
    healed: sum(facts.map((one) => one.healed)),
    errors: facts.reduce((all, { errors }) => merged(all, errors), {}),
    calm: within(startedAt, calmTo),
    during: within(calmTo, until),
    each: windows.map(({ from, to }) => within(from, to)),
  };
}

function merged(all, more) {
  for (const [text, count] of Object.entries(more)) all[text] = (all[text] ?? 0) + count;
  return all;
}

export function missedMarks({ verdict, falseLeaves, firstFalse, missing, counts, notBack }, { users }) {
  const lines = verdict.examples.map((example) => example);
  if (verdict.acked !== verdict.stored) lines.push(`${verdict.acked} acked, ${verdict.stored} stored`);
  if (verdict.gaps > 0) lines.push(`${verdict.gaps} gaps, ${verdict.excused} events not received`);
  if (falseLeaves > 0) lines.push(`${falseLeaves} false leaves: ${firstFalse.join(', ')}`);
  if (missing !== 0 || counts.some((count) => count !== users))
    lines.push(`members in the end: counts ${[...new Set(counts)]}, ${missing} missing by name`);
  if (notBack > 0) lines.push(`${notBack} clients are not back, or behind`);
  return lines;
}

const triple = ({ p50, p99, max }) => `${ms(p50)} / ${ms(p99)} / ${ms(max)}`;

export function markdown(run, result, rows, { proxy, brokers, clients, rate }) {
  const { verdict } = result;
  const behind = proxy === 'none' ? '' : ` behind ${proxy}`;
  return `### ${brokers} brokers${behind}, ${clients} clients, ${rate} durable publishes a second, each broker restarted

${table([
  ['', 'figure'],
  ['clients, with bystanders and watchers', run.users],
  ['durable publishes acked / refused', `${verdict.acked} / ${sum([...run.refusals.values()])}`],
  ['events received', verdict.received],
  [
    '… lost, doubled, out of order, in gaps',
    `${['lost', 'doubled', 'reordered'].map((kind) => verdict.counts[kind]).join(', ')}, ${verdict.excused}`,
  ],
  ['holes that clients filled by themselves', result.healed],
  [`false leaves seen by ${run.watched.length} watchers`, result.falseLeaves],
  ['members missing in the end, by name', result.missing],
  ['reconnects, of these by ticket', `${result.reconnects}, ${result.resumed}`],
  [
    'attempts a reconnect, p50 / p99 / max',
    `${result.tries.p50} / ${result.tries.p99} / ${result.tries.max}`,
  ],
  ['without a connection, ms, p50 / p99 / max', triple(result.down)],
  ['lost to caught up, ms, p50 / p99 / max', triple(result.caughtUp)],
  ['reconnects in the busiest second', result.peak],
  ['publish to receive of bystanders before, ms, p50 / p99 / max', triple(result.calm)],
  ['… from the first SIGTERM to the end, ms', triple(result.during)],
])}

${table([
  [
    'restarted',
    'clients',
    'SIGTERM at, s',
    'ended after, s',
    'ready after, s',
    'bystanders meanwhile, ms, p50 / p99 / max',
  ],
  ...run.windows.map(({ pod, connections, from, endedAt, to }, at) => [
    pod,
    connections,
    ms((from - run.startedAt) / SECOND),
    ms((endedAt - from) / SECOND),
    ms((to - from) / SECOND),
    triple(result.each[at]),
  ]),
])}

Errors that clients were told of: ${
    Object.entries(result.errors)
      .map(([text, count]) => `${count} × ${text}`)
      .join('; ') || 'none'
  }.

${table([
  ['second', 'lost', 'back', 'bystanders p50, ms', 'p99, ms'],
  ...rows
    .filter(({ lost, back }) => lost + back > 0)
    .map(({ second, lost, back, latency }) => [second, lost, back, ms(latency.p50), ms(latency.p99)]),
])}
`;
}
