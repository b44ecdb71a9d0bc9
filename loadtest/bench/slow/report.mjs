import { table } from '../../support/stats.mjs';

const MIB = 1024 * 1024;
const P99_TIMES = 1.5;
const MEMORY_TIMES = 1.1;

const fastOf = (phase) => phase.results[0].latencies;
const mib = (value) => (value / MIB).toFixed(1);
const ms = (value) => value.toFixed(1);

/** What was promised and did not hold. */
export function missedMarks({ bus, alone, mixed, memory }) {
  const lines = [];
  const times = fastOf(mixed).p99 / fastOf(alone).p99;
  if (times > P99_TIMES) lines.push(`${bus}: p99 of fast readers ${times.toFixed(2)} times`);
  for (const group of mixed.results)
    for (const reader of group.readers) {
      if (!reader.exact) lines.push(`${bus}: ${JSON.stringify(reader)}`);
      if (reader.missed > 0 && ['backfill', 'close'].includes(reader.overflow))
        lines.push(`${bus}: ${reader.overflow}, ${reader.pace}: ${reader.missed} events missed`);
    }
  for (const kind of ['rssCollected', 'heapUsed']) {
    const grown = memory.end[kind] / memory.start[kind];
    if (grown > MEMORY_TIMES) lines.push(`${bus}: ${kind} is ${grown.toFixed(2)} times the start`);
  }
  return lines;
}

function latencyRows({ alone, all, mixed }) {
  const base = fastOf(alone).p99;
  return [
    ['70 fast readers alone', alone],
    ['100 fast readers', all],
    ['70 fast and 30 slow readers', mixed],
  ].map(([label, phase]) => {
    const { p50, p99, p999, max } = fastOf(phase);
    return [
      label,
      ms(p50),
      ms(p99),
      (p99 / base).toFixed(2),
      ms(p999),
      ms(max),
      ms(phase.lagMs),
      `${((phase.cpuSeconds / phase.took) * 100).toFixed(0)} %`,
    ];
  });
}

function readerRows({ mixed }) {
  const groups = new Map();
  for (const reader of mixed.results.flatMap(({ readers }) => readers)) {
    const key = `${reader.pace}, ${reader.overflow}`;
    groups.set(key, [...(groups.get(key) ?? []), reader]);
  }
  const range = (readers, field) => {
    const values = readers.map((reader) => reader[field]);
    return `${Math.min(...values)} to ${Math.max(...values)}`;
  };
  return [...groups].map(([label, readers]) => [
    label,
    readers.length,
    range(readers, 'received'),
    range(readers, 'missed'),
    range(readers, 'gaps'),
    range(readers, 'closes'),
    [...new Set(readers.flatMap(({ lasts }) => lasts))].join(' '),
    readers.every(({ exact }) => exact) ? 'yes' : 'NO',
  ]);
}

export function markdown(result) {
  const { bus, mixed, memory } = result;
  const grown = (name) => (mixed.after[name] ?? 0) - (mixed.before[name] ?? 0);
  const memoryRow = (label, at) => [label, mib(at.rssCollected), mib(at.heapUsed), mib(at.external)];
  const slow = ['demoted', 'closed', 'dropped'].map(
    (why) => `${grown(`slow_consumers_total{reason="${why}"}`)} ${why}`,
  );
  return `### ${bus} bus

${table([['publish to receive, fast readers, ms', 'p50', 'p99', '× alone', 'p99.9', 'max', 'loop lag, max', 'broker CPU'], ...latencyRows(result)])}

${table([['readers', 'n', 'received', 'told as missing', 'gaps', 'closed', 'last', 'adds up'], ...readerRows(result)])}

${table([['broker after a collection, MiB', 'resident', 'heap', 'external'], memoryRow('before the run with slow readers', memory.start), memoryRow('after it, all caught up', memory.connected), memoryRow('after they have gone', memory.end)])}

- all at the head ${ms(Math.max(...mixed.results.map(({ settleMs }) => settleMs)))} ms after the last publish; ${slow.join(', ')}
- replayed: ${grown('replayed_total')} events, ${mib(grown('catch_up_bytes_total'))} MiB; longest turn of catch-ups ${ms((mixed.after['catch_up_turn_longest_seconds'] ?? 0) * 1000)} ms
- the broker waited ${ms(mixed.waitedMs)} ms for its CPU, which others used
- sweep: ${grown('slow_looks_total')} looks in ${ms(grown('slow_look_seconds_total') * 1000)} ms
`;
}
