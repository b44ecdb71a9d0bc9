import { table } from '../../support/stats.mjs';

const us = (value) => (value === undefined ? '' : value.toFixed(1));
const times = (value) => (value === undefined ? '' : value.toFixed(2));

export function costMarkdown({ kind, rooms, servers, targets }) {
  const where = servers === 1 ? 'one nats-server' : `${servers} nats-servers, R${servers}`;
  const modes = ['saturated', 'paced'].map((mode) => {
    const rows = targets.map((target) => {
      const one = target[mode];
      const latency = one.latencyMs;
      return [
        target.label,
        us(one.publisherUs),
        us(one.receiverUs),
        us(one.podsUs),
        us(one.serversUs || undefined),
        times(one.publisherVsBare),
        times(one.receiverVsBare),
        times(one.podsVsEmbedded),
        one.perSecond.toFixed(0),
        ...(latency === undefined
          ? []
          : [latency.p50.toFixed(2), latency.p99.toFixed(1), latency.bestRoundP99.toFixed(1)]),
      ];
    });
    const head = ['µs CPU per message', 'publisher', 'receiver', 'both', 'nats', 'pub × bare', 'recv × bare'];
    const rest = ['both × embedded', 'messages/s'];
    const latency = mode === 'paced' ? ['p50 ms', 'p99 ms', 'p99 ms, best round'] : [];
    return `${mode}\n\n${table([[...head, ...rest, ...latency], ...rows])}\n`;
  });
  return `### ${kind}, ${rooms} rooms, ${where}\n\n${modes.join('\n')}`;
}

const each = ({ memory }, rooms, key, after = memory.after) =>
  ((after[key] - memory.before[key]) / rooms).toFixed(0);

function memoryRow(label, figures, rooms) {
  const { filled, joinSeconds, joinCpuSeconds } = figures;
  return [
    label,
    each(figures, rooms, 'rss'),
    each(figures, rooms, 'rssCollected'),
    each(figures, rooms, 'heapUsed'),
    each(figures, rooms, 'rssCollected', filled.memory),
    each(figures, rooms, 'heapUsed', filled.memory),
    joinSeconds.toFixed(1),
    ((joinCpuSeconds / rooms) * 1e6).toFixed(0),
    figures.refused,
  ];
}

export function restartMarkdown({ kind, rooms, alone, nats, server, restart: after }) {
  const memory = ['resident', 'collected', 'heap', 'collected, 1 event each', 'heap, 1 event each'];
  const head = ['bytes per room', ...memory, 'joined in s', 'µs CPU per room', 'refused for now'];
  const rows = [memoryRow('embedded bus', alone, rooms), memoryRow('on NATS', nats, rooms)];
  const { times, proof, clients, start, end } = after;
  const steps = Object.entries(times).map(([name, seconds]) => [name, seconds.toFixed(2)]);
  return `### ${rooms} ${kind} rooms in one pod, restart of nats-server

${table([head, ...rows])}

- nats-server: ${(server.bytes / rooms).toFixed(0)} bytes and ${((server.cpuSeconds / rooms) * 1e6).toFixed(0)} µs of CPU per room
- one message into every room before: ${nats.filled.reached} of ${nats.filled.published} arrived, ${nats.filled.seconds.toFixed(1)} s
- /readyz while NATS was away: ${after.readyzWhileAway}

${table([['after the server is ready again', 'seconds'], ...steps])}

- CPU from there to the end of the audits: pod ${after.podCpuSeconds.toFixed(2)} s; nats-server ${after.natsCpuSeconds.toFixed(2)} s since its start; slowest answer of /metrics ${after.slowestMetricsMs.toFixed(0)} ms
- one message into every room afterwards, from the other pod: ${proof.reached} of ${proof.published} arrived, ${proof.seconds.toFixed(1)} s
- clients: ${clients.closed} closed, ${clients.gaps} gaps, ${clients.errors} errors; found missing by audits: ${(end.audit_found ?? 0) - (start.audit_found ?? 0)}
`;
}
