/** What the figures of the buses mean (broker/ports.ts, BusHealth): their help text, and whether they only grow. */

import type { Merged } from './instruments.ts';

interface Figure {
  readonly help: string;
  readonly grows: boolean;
  readonly merged: Merged;
}

const gauge = (help: string, merged: Merged = 'sum'): Figure => ({ help, grows: false, merged });
const counter = (help: string): Figure => ({ help, grows: true, merged: 'sum' });

const FIGURES: ReadonlyMap<string, Figure> = new Map(
  Object.entries({
    rooms: gauge('Rooms that the bus holds state for.'),
    open_rooms: gauge('Rooms whose events the bus feeds to this node.'),
    history_events: gauge('Events kept in memory.'),
    history_bytes: gauge('Bytes of the events kept in memory.'),
    history_evicted: counter('Events dropped early, because limits.historyTotalBytes was reached.'),
    dedupe_entries: gauge('Message ids remembered.'),
    dedupe_evicted: counter('Message ids forgotten early, because limits.dedupeEntries was reached.'),
    connected: gauge('1: connected to NATS; 0: not.', 'min'),
    wider_streams: gauge(
      'Streams that kept more than the settings say when this node found them; no harm is done.',
      'max',
    ),
    replay_connected: gauge('1: the connection for history is up; 0: not.', 'min'),
    reconnects: counter('Times that the connection to NATS came back.'),
    live_rooms: gauge('Live rooms that this node follows.'),
    live_unsent: gauge('Live events that NATS has not taken yet.'),
    history_evicted_rooms: counter(
      'Rooms whose kept events were dropped early, to stay inside the memory limit.',
    ),
    replays_memory: counter('Pages of replay that memory held.'),
    replays_store: counter('Pages of replay that began a read of the store.'),
    replays_shared: counter('Pages of replay that waited for the read of another.'),
    histories_memory: counter('Requests for history that memory answered.'),
    histories_store: counter('Requests for history that began a read of the store.'),
    histories_shared: counter('Requests for history that waited for the read of another.'),
    store_pages: counter('Batches of events asked from the stream, for replay, history and holes.'),
    history_loads: counter('Reads of history from the stream, because memory did not hold it.'),
    inflight: gauge('Publishes sent to the stream and not answered yet.'),
    queued: gauge('Publishes waiting to be sent to the stream.'),
    queued_bytes: gauge('Bytes of the publishes waiting to be sent.'),
    closed_streams: gauge('Streams that take no publishes now.'),
    publish_retries: counter('Publishes sent again, because no answer came.'),
    publish_duplicates: counter('Publishes that the stream had already.'),
    publish_unseen: gauge('Publishes stored, whose event has not come back to this node yet.'),
    backfills: counter('Holes in what arrived that were looked up in the stream.'),
    backfill_sweeps: counter('Holes that took a read through the whole stream.'),
    backfill_events: counter('Events that arrived by such a look-up only.'),
    backfill_pending: gauge('Holes being looked up now.'),
    gaps: counter('Holes that could not be filled: members were told.'),
    audits: counter('Comparisons of what arrived with what the stream holds.'),
    audit_found: counter('Comparisons that found something missing.'),
    cursors_held: gauge('Cursors in memory: known, or still to be written.'),
    cursors_unwritten: gauge('Cursors that have moved and are not stored yet.'),
    cursors_refused: counter('Moves of cursors refused, because limits.cursors was reached.'),
    cursor_writes: counter('Cursors stored.'),
    cursor_write_conflicts: counter('Writes of cursors tried again, because another node had written.'),
    cursor_write_failures: counter('Writes of cursors tried again later, because NATS did not take them.'),
    cursor_reads: counter('Cursors looked up for users who came without a position.'),
    cursor_read_requests: counter('Requests that these look-ups took.'),
    epoch_changes: counter(
      'Times that positions became void: a stream was made anew, or has lost its end and gives places away again.',
    ),
    rollbacks: counter('Streams that this node was the first to prove to have lost their end.'),
  }),
);

/** All that a bus may have. */
export const FIGURE_NAMES: readonly string[] = [...FIGURES.keys()];

export function figureOf(name: string): Figure {
  return FIGURES.get(name) ?? gauge(`Figure ${name} of the bus.`);
}

/** A counter is named `_total`. */
export function metricOf(name: string): string {
  return figureOf(name).grows ? `bus_${name}_total` : `bus_${name}`;
}
