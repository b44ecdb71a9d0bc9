import type { Cluster } from '../broker/cluster.ts';
import { REFUSAL_REASONS } from '../broker/limits/reasons.ts';
import type { Bus, BusHealth } from '../broker/ports.ts';
import {
  type ClosedBy,
  type Histogram,
  SCHEMA_OUTCOMES,
  SIGNAL_OUTCOMES,
  SLOW_OUTCOMES,
  type Tally,
  type UpgradeOutcome,
} from '../broker/tally.ts';
import type { UsageBook } from '../broker/usage.ts';
import { CLOSE_CODES, ERROR_CODES } from '../protocol/codes.ts';
import { GAP_REASONS } from '../protocol/frames.ts';
import { type ApiAnswers, describeApi } from './api.ts';
import { describeCluster } from './cluster.ts';
import { type DrainFigures, describeDrain } from './drain.ts';
import { figureOf, metricOf } from './figures.ts';
import { describeIdentity } from './identity.ts';
import { type HistogramReading, Instruments, overClosedSet, type Readings } from './instruments.ts';
import { describeLifecycle, type LifecycleFigures } from './lifecycle.ts';
import { LoopLagMeter } from './loop.ts';
import {
  cpuSeconds,
  GcMeter,
  maxDescriptors,
  memory,
  nodeVersion,
  openDescriptors,
  startedAtSeconds,
} from './process.ts';
import { describeShards } from './shards.ts';
import { describeTracing, type SpanCounts } from './spans.ts';
import { describeTls, type TlsFigures } from './tls.ts';
import { describeUsage } from './usage.ts';

export interface MetricsSource {
  readonly tally: Tally;
  readonly bus: Pick<Bus, 'kind' | 'health'>;
  readonly cluster?: Pick<Cluster, 'figures'>;
  /** What other nodes have set otherwise. */
  readonly agreement?: { readonly differences: readonly unknown[] };
  readonly api?: ApiAnswers;
  readonly usage?: Pick<UsageBook, 'figures'>;
  /** Absent: no TLS. */
  readonly tls?: TlsFigures | undefined;
  readonly lifecycle?: () => LifecycleFigures | undefined;
  /** Absent: no tracing. */
  readonly traces?: SpanCounts | undefined;
  readonly drain?: { readonly progress: DrainFigures };
  /** Of the broker, as in server_info. */
  readonly version: string;
}

export interface Metrics {
  readonly contentType: string;
  /** The Prometheus exposition. Rejects only when a source is broken. */
  text(): Promise<string>;
  /** The same as data. */
  readings(): Promise<Readings>;
  close(): void;
}

/** All metrics of one process. Nothing is counted here: Tally, the bus and the process are read at each scrape. */
export function createMetrics(source: MetricsSource): Metrics {
  const instruments = new Instruments();
  const lag = new LoopLagMeter();
  const gc = new GcMeter();
  describeConnections(instruments, source.tally);
  describeTraffic(instruments, source.tally);
  describePresence(instruments, source.tally);
  describeCompression(instruments, source.tally);
  describeSlow(instruments, source.tally);
  describeIdentity(instruments, source.tally.identity);
  describeSchemas(instruments, source.tally);
  describeRooms(instruments, source.tally);
  describeProcess(instruments, lag, gc, source.version);
  describeBusState(instruments, source.bus);
  describeShards(instruments, source.bus);
  if (source.api !== undefined) describeApi(instruments, source.api);
  if (source.tls !== undefined) describeTls(instruments, source.tls);
  if (source.cluster !== undefined)
    describeCluster(instruments, source.cluster, () => source.agreement?.differences.length ?? 0);
  if (source.usage !== undefined) describeUsage(instruments, source.usage);
  if (source.lifecycle !== undefined) describeLifecycle(instruments, source.lifecycle);
  if (source.traces !== undefined) describeTracing(instruments, source.traces);
  if (source.drain !== undefined) describeDrain(instruments, source.drain);
  return {
    contentType: instruments.contentType,
    text: () => {
      describeBusFigures(instruments, source.bus);
      return instruments.text();
    },
    readings: () => {
      describeBusFigures(instruments, source.bus);
      return instruments.readings();
    },
    close: () => {
      lag.close();
      gc.close();
    },
  };
}

const UPGRADE_OUTCOMES = Object.keys({
  accepted: true,
  bad_request: true,
  bad_version: true,
  bad_subprotocol: true,
  bad_origin: true,
  unauthorized: true,
  token_expired: true,
  forbidden: true,
  too_many: true,
  limited: true,
  overloaded: true,
  draining: true,
  timeout: true,
  unavailable: true,
  aborted: true,
  internal: true,
} satisfies Record<UpgradeOutcome, true>);

const CLOSED_BY = [
  ...Object.keys(CLOSE_CODES),
  ...Object.keys({ normal: true, going_away: true, abnormal: true, too_big: true } satisfies Record<
    Exclude<ClosedBy, keyof typeof CLOSE_CODES | 'other'>,
    true
  >),
];

function describeConnections(instruments: Instruments, tally: Tally): void {
  instruments.gauge('connections', 'WebSocket connections open now.', () => tally.connections);
  instruments.counters('upgrades_total', 'Handshakes by what became of them.', 'outcome', () =>
    overClosedSet(UPGRADE_OUTCOMES, tally.upgrades),
  );
  instruments.gauge('tarpit_held', 'Refused handshakes that wait for their answer.', () => tally.tarpitHeld);
  const refused = 'Plain sockets closed at once: their address had as many as were left for others.';
  instruments.counter('sockets_refused_total', refused, () => tally.socketsRefused);
  instruments.counter('tarpitted_total', 'Refused handshakes that had to wait.', () => tally.tarpitted);
  instruments.counters(
    'closes_total',
    'Connections closed, by reason: a close code of chat.v1, or how the socket ended.',
    'reason',
    () => overClosedSet([...CLOSED_BY, 'other'], tally.closes),
  );
}

/** Readers that are behind: how many there are, what becomes of them, what they cost. */
function describeSlow(instruments: Instruments, tally: Tally): void {
  instruments.counters(
    'slow_consumers_total',
    'Connections over limits.bufferedSoftBytes. demoted: off native delivery; closed, dropped: ended with 4102.',
    'reason',
    () => overClosedSet(SLOW_OUTCOMES, tally.slow),
  );
  instruments.counter(
    'slow_looks_total',
    'Looks at the backlog of a connection, by the rolling sweep for slow readers.',
    () => tally.slowLooks,
  );
  instruments.counter('slow_look_seconds_total', 'Time that the sweep for slow readers took.', () => {
    return tally.slowLookMs / 1000;
  });
  instruments.gauge('catch_ups', 'Members that are being replayed events now.', () => tally.catchUps);
  instruments.counter('catch_up_bytes_total', 'Bytes of replayed events.', () => tally.catchUpBytes);
  describeHistogram(
    instruments,
    'catch_up_turn_seconds',
    'What all catch-ups together took of one turn of the event loop.',
    tally.catchUpTurn,
  );
  instruments.gauge(
    'catch_up_turn_longest_seconds',
    'The most that all catch-ups together ever took of one turn of the event loop.',
    () => tally.catchUpTurn.maxMs / 1000,
    'max',
  );
}

function describeHistogram(instruments: Instruments, name: string, help: string, histogram: Histogram): void {
  const read = (): HistogramReading => ({ counts: histogram.counts, sum: histogram.sumMs / 1000 });
  const bounds = histogram.boundsMs.map((ms) => ms / 1000);
  instruments.histogram(name, help, bounds, read);
}

function describeTraffic(instruments: Instruments, tally: Tally): void {
  const count = (name: string, help: string, read: () => number): void =>
    instruments.counter(name, help, read);
  count('messages_received_total', 'WebSocket messages received from clients.', () => tally.messagesIn);
  count('bytes_received_total', 'Payload bytes of the messages received.', () => tally.bytesIn);
  count('frames_sent_total', 'Frames handed to sockets one by one or to topics.', () => tally.framesOut);
  count('bytes_sent_total', 'Bytes handed over, times the receivers.', () => tally.bytesOut);
  count('deliveries_total', 'Events handed over, times the receivers.', () => tally.deliveries);
  count('published_total', 'Publishes that the bus accepted, ephemeral ones apart.', () => tally.published);
  count('duplicates_total', 'Publishes answered from the dedupe window.', () => tally.duplicates);
  count(
    'fair_turns_total',
    'Turns of the loop in which tenants took turns, as it was behind.',
    () => tally.fairTurns,
  );
  instruments.counters('ephemeral_total', 'Ephemeral publishes by what became of them.', 'outcome', () =>
    overClosedSet(SIGNAL_OUTCOMES, tally.signals),
  );
  instruments.gauge('ephemeral_slots', 'Rooms, users and keys with an open window.', () => tally.signalSlots);
  instruments.gauge('ephemeral_held_bytes', 'Ephemeral payloads that wait.', () => tally.signalBytes);
  count('replayed_total', 'Events sent again to joining or resuming sessions.', () => tally.replayed);
  count(
    'upgrades_deferred_total',
    'Handshakes that waited for a later turn of the loop (limits.upgradeTurnMs).',
    () => tally.upgradesDeferred,
  );
  count('deferred_total', 'Messages that waited for a later turn of the loop.', () => tally.deferred);
  instruments.counters('errors_total', 'Error frames sent, by code.', 'code', () =>
    overClosedSet(Object.keys(ERROR_CODES), tally.errors),
  );
  instruments.counters('refusals_total', 'What was refused for a limit, by which.', 'reason', () =>
    overClosedSet(REFUSAL_REASONS, tally.refusals),
  );
  instruments.counters('gaps_total', 'Gap frames sent, by reason.', 'reason', () =>
    overClosedSet([...GAP_REASONS, 'other'], tally.gaps),
  );
  describeHistogram(
    instruments,
    'publish_deliver_seconds',
    'From the bus accepting an event to its bytes being handed to the sockets of this node.',
    tally.delivery,
  );
  describeHistogram(
    instruments,
    'publish_ack_seconds',
    "From a client's publish to the bus's answer; refused as unavailable or overloaded: beyond all bounds.",
    tally.acks,
  );
}

function describePresence(instruments: Instruments, tally: Tally): void {
  instruments.gauge(
    'presence_others_names',
    'Members of other brokers that are kept by name, over all rooms; about 190 bytes each. At presence.othersNames rooms are told as counts.',
    () => tally.presenceNames,
  );
  instruments.gauge(
    'presence_others_hashes',
    'Hashes of samples of other brokers, over all rooms; 8 bytes each. Bounded by presence.othersSketches.',
    () => tally.presenceHashes,
  );
  instruments.gauge(
    'presence_kept',
    'Lost connections whose users stay for their grace, times the rooms that they were in. Bounded by presence.kept.',
    () => tally.presenceKept,
  );
}

function describeCompression(instruments: Instruments, tally: Tally): void {
  instruments.gauge(
    'compression',
    '1: long messages to one connection may be compressed; 0: compression.mode is off, or the loop is late.',
    () => Number(tally.compressing),
    'min',
  );
  instruments.counter(
    'compressed_total',
    'Messages to one connection that were compressed.',
    () => tally.compressed,
  );
  instruments.counter(
    'compressed_bytes_total',
    'Bytes of those before compression.',
    () => tally.compressedBytes,
  );
  instruments.counter(
    'uncompressed_total',
    'Messages that would have been compressed, had the loop not been later than compression.loopLagMs.',
    () => tally.uncompressed,
  );
  instruments.counters(
    'compression_sample_bytes_total',
    'Of one compressed message a second, deflated once more to see: its bytes before and after.',
    'stage',
    () => tally.compressionSample,
  );
}

function describeSchemas(instruments: Instruments, tally: Tally): void {
  instruments.counters(
    'schema_checks_total',
    'Payloads held against the schema of their room, by its mode and what came of it.',
    'outcome',
    () => overClosedSet(SCHEMA_OUTCOMES, tally.schemaChecks),
  );
  instruments.gauge(
    'schema_check_longest_seconds',
    'The longest that one payload was held against a schema.',
    () => tally.schemaLongestMs / 1000,
    'max',
  );
}

function describeRooms(instruments: Instruments, tally: Tally): void {
  instruments.gauge('rooms', 'Rooms that this process holds state for.', () => tally.rooms);
  instruments.gauge('memberships', 'Rooms joined, over all connections.', () => tally.memberships);
}

export function describeProcess(
  instruments: Instruments,
  lag: LoopLagMeter,
  gc: GcMeter,
  version: string,
): void {
  describeVersions(instruments, version);
  describeLoop(instruments, lag, gc);
  instruments.gauge(
    'process_start_time_seconds',
    'When the process started, since 1970.',
    startedAtSeconds,
    'min',
  );
  instruments.counters('process_cpu_seconds_total', 'CPU time used.', 'mode', cpuSeconds);
  instruments.gauges('process_memory_bytes', 'Memory in use. NaN: it cannot be read.', 'kind', memory);
  instruments.gauge('process_open_fds', 'File descriptors open. NaN: it cannot be read.', openDescriptors);
  instruments.gauge('process_max_fds', 'The soft limit of open file descriptors.', maxDescriptors);
}

function describeVersions(instruments: Instruments, version: string): void {
  const node = nodeVersion();
  instruments.gauges(
    'build_info',
    'Always 1; the label is the version of the broker.',
    'version',
    () => ({
      [version]: 1,
    }),
    'max',
  );
  instruments.gauges(
    'node_info',
    'Always 1; the label is the version of Node.',
    'version',
    () => ({
      [node]: 1,
    }),
    'max',
  );
}

function describeLoop(instruments: Instruments, lag: LoopLagMeter, gc: GcMeter): void {
  instruments.counters(
    'gc_seconds_total',
    'Time in pauses of the garbage collector.',
    'kind',
    () => gc.seconds,
  );
  instruments.counters('gc_runs_total', 'Runs of the garbage collector.', 'kind', () => gc.runs);
  describeHistogram(
    instruments,
    'gc_pause_seconds',
    'Pauses of the garbage collector, of all kinds.',
    gc.pauses,
  );
  instruments.gauges(
    'loop_lag_seconds',
    'How late timers of the event loop fired, since the scrape before this one.',
    'stat',
    () => {
      const { p50Ms, p99Ms, maxMs } = lag.take();
      return { p50: p50Ms / 1000, p99: p99Ms / 1000, max: maxMs / 1000 };
    },
    'max',
  );
}

type BusSource = MetricsSource['bus'];

function describeBusState(instruments: Instruments, bus: BusSource): void {
  instruments.gauges(
    'bus_state',
    '2: up; 1: degraded; 0: down. The label is the kind of bus.',
    'bus',
    () => ({
      [bus.kind]: STATE[bus.health().state],
    }),
    'min',
  );
}

const STATE = { up: 2, degraded: 1, down: 0 } as const satisfies Record<BusHealth['state'], number>;

/** A bus names its figures itself; one that appears later (after the first connect) is added then. */
export function describeBusFigures(instruments: Instruments, bus: BusSource): void {
  for (const figure of Object.keys(bus.health().figures)) {
    const name = metricOf(figure);
    if (instruments.has(name)) continue;
    const { help, grows, merged } = figureOf(figure);
    const read = (): Record<string, number> => ({ [bus.kind]: bus.health().figures[figure] ?? Number.NaN });
    if (grows) instruments.counters(name, help, 'bus', read);
    else instruments.gauges(name, help, 'bus', read, merged);
  }
}
