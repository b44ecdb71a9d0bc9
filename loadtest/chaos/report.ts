import type { ChaosOptions, ChaosReport } from './chaos.ts';
import { LATE_MS, type Span } from './ledger.ts';
import { FAULTS } from './timetable.ts';

/** As Markdown, for people and for loadtest/results. */
export function markdown(options: ChaosOptions, report: ChaosReport): string {
  const { verdict } = report;
  const refusals = [...report.refusals].map(([code, count]) => `${count} ${code}`).join(', ') || 'none';
  const broken = Object.entries(verdict.counts).filter(([, count]) => count > 0);
  return [
    `${options.brokers} brokers, ${options.rooms} rooms, ${options.rate} msg/s, ${options.clients} subscribing clients ` +
      `(${options.fanout} per room), ${options.publishers} publishers, ${options.seconds} s, seed ${options.seed}:`,
    '',
    '| published | acked | refused | stored | duplicates answered | received | gaps | excused by gaps | healed by clients | reconnects |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    `| ${[report.published, verdict.acked, refusals, verdict.stored, report.duplicates, verdict.received, verdict.gaps, verdict.excused, report.healed, report.reconnects].join(' | ')} |`,
    '',
    `| fault | hurt | published | acked | duplicates | received | gaps | reconnects | longest disconnect | longest ack | acks within ${LATE_MS} ms again after | longest delivery | deliveries within ${LATE_MS} ms again after |`,
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...report.spans.map(row),
    '',
    broken.length === 0
      ? `Verdict: ${report.passed ? 'every promise kept' : 'no promise broken, but there were gaps or refusals'}.`
      : `Verdict: BROKEN: ${broken.map(([kind, count]) => `${count} ${kind}`).join(', ')}.`,
    ...verdict.examples.map((example) => `- ${example}`),
  ].join('\n');
}

function row(span: Span): string {
  const cells = [
    span.name,
    span.detail,
    span.published,
    span.acked,
    span.duplicates,
    span.received,
    span.gaps,
    span.reconnects,
    seconds(span.longestDownMs),
    seconds(span.longestAckMs),
    seconds(span.acksBackMs),
    seconds(span.longestEventMs),
    seconds(span.eventsBackMs),
  ];
  return `| ${cells.join(' | ')} |`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

export function faultList(): string {
  return Object.entries(FAULTS)
    .map(([name, text]) => `  ${name.padEnd(14)} ${text}`)
    .join('\n');
}
