import { table } from '../../support/stats.mjs';

const TURN_MS = 5;
const ms = (value) => value.toFixed(1);
const sum = (values) => values.reduce((a, b) => a + b, 0);

/** What was promised and did not hold. */
export function missedMarks({ bus, faults, resumed, after }) {
  const lines = faults.first.map((fault) => `${bus}: ${fault}`);
  const others = resumed.flatMap(({ recovered }) => Object.keys(recovered).filter((how) => how !== 'full'));
  if (others.length > 0) lines.push(`${bus}: recovered ${others.join(' ')}`);
  const longest = (after['catch_up_turn_longest_seconds'] ?? 0) * 1000;
  if (longest > TURN_MS) lines.push(`${bus}: ${ms(longest)} ms of one turn`);
  return lines;
}

/** Turns of the loop by what catch-ups took of them. */
function turns({ bus, before, after }) {
  const name = (le) => `catch_up_turn_seconds_bucket{le="${le}"}`;
  const grown = (le) => (after[name(le)] ?? 0) - (before[name(le)] ?? 0);
  const total = grown('+Inf');
  const over = ['0.001', '0.003', '0.005', '0.01'].map(
    (le) => `${total - grown(le)} over ${Number(le) * 1000} ms`,
  );
  return `${total} turns had catch-ups (${bus}): ${over.join(', ')}`;
}

export function markdown(result) {
  const { bus, resumed, calm, during, before, after, faults } = result;
  const grown = (name) => (after[name] ?? 0) - (before[name] ?? 0);
  const figure = (name) => grown(`bus_${name}_total{bus="${bus}"}`);
  const [memory, store, shared] = ['memory', 'store', 'shared'].map((how) => figure(`replays_${how}`));
  const clients = sum(resumed.map((one) => one.clients));
  const lag = (stat) => ms((after[`loop_lag_seconds{stat="${stat}"}`] ?? 0) * 1000);
  const waits = (at) => ms(Math.max(...resumed.map((one) => one.waits[at])));
  return `### ${bus} bus, ${clients} clients

${table([
  ['', 'figure'],
  ['all caught up after, ms', ms(result.ms)],
  ['clients a second', ((clients / result.ms) * 1000).toFixed(0)],
  ['broker CPU, µs a client', ((result.cpuSeconds / clients) * 1e6).toFixed(0)],
  ['broker waited for its CPU, ms', ms(result.waitedMs)],
  ['join to caught_up, ms, p50 / p99 / max', `${waits('p50')} / ${waits('p99')} / ${waits('max')}`],
  ['events received by them', sum(resumed.map((one) => one.events))],
  ['pages from memory / reads begun / reads shared', `${memory} / ${store} / ${shared}`],
  ['hit rate of memory', `${((memory / (memory + store + shared)) * 100).toFixed(2)} %`],
  ['loads of rooms, pages of the store', `${figure('history_loads')}, ${figure('store_pages')}`],
  ['longest turn of catch-ups, ms', ms((after['catch_up_turn_longest_seconds'] ?? 0) * 1000)],
  ['loop lag p50 / p99 / max, ms', `${lag('p50')} / ${lag('p99')} / ${lag('max')}`],
  ['bystanders before, p50 / p99 / max, ms', `${ms(calm.p50)} / ${ms(calm.p99)} / ${ms(calm.max)}`],
  ['bystanders meanwhile, p50 / p99 / max, ms', `${ms(during.p50)} / ${ms(during.p99)} / ${ms(during.max)}`],
  ['broken promises', faults.count],
])}

- ${turns(result)}
`;
}
