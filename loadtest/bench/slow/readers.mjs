/** A process full of readers. Its parent says when the load begins, and when everything has been published. */
import { sleep } from '../../support/stats.mjs';
import { serveCommands } from '../../support/worker.mjs';
import { Reader } from './reader.mjs';

const SETTLE_MS = 60_000;
const STALL_AT_MS = 2000;
let readers = [];
let slow = [];
let finished = false;

const commands = {
  async open({ address, tokens, room, kinds }) {
    readers = kinds.map((kind, n) => new Reader({ ...address, token: tokens[n] }, room, kind));
    for (const reader of readers) await reader.open();
    return readers[0].position;
  },

  load({ stallMs, crawlBytes, seconds }) {
    slow = readers.map(async (reader) => {
      if (reader.pace === 'stalls') {
        await sleep(STALL_AT_MS);
        await reader.stall(stallMs);
      } else if (reader.pace === 'crawls') {
        await reader.crawl(crawlBytes, seconds * 1000);
      }
    });
    // Whoever was closed comes back when its time of reading slowly is over.
    slow = slow.map(async (done, n) => {
      await done;
      const reader = readers[n];
      for (let tries = 0; tries < SETTLE_MS / 50; tries++) {
        await sleep(50);
        if (reader.lost) await reader.open();
        if (finished) return;
      }
    });
  },

  /** Waits until every reader is where the room is; what each has to show for it. */
  async end({ seqs }) {
    const started = performance.now();
    const head = seqs.at(-1);
    while (readers.some(({ position }) => position < head)) {
      if (performance.now() - started > SETTLE_MS) break;
      await sleep(10);
    }
    finished = true;
    await Promise.all(slow);
    return {
      settleMs: performance.now() - started,
      latencies: percentiles(readers.flatMap(({ latencies }) => latencies)),
      readers: readers.map((reader) => judged(reader, seqs)),
    };
  },

  close() {
    for (const reader of readers) reader.end();
    readers = [];
    finished = false;
  },
};

/** Received and told as missing are together all that was published, each once. */
function judged(reader, seqs) {
  const { overflow, pace, gaps, faults, closes, lasts, caughtUp } = reader;
  const got = new Set(reader.seqs);
  const missed = seqs.filter((seq) => gaps.some(([from, to]) => seq > from && seq <= to));
  const exact =
    got.size === reader.seqs.length &&
    got.size + missed.length === seqs.length &&
    missed.every((seq) => !got.has(seq)) &&
    seqs.filter((seq) => got.has(seq)).length === got.size;
  return {
    overflow,
    pace,
    received: reader.seqs.length,
    missed: missed.length,
    gaps: gaps.length,
    exact: exact && faults.length === 0,
    caughtUp,
    closes: closes.length,
    lasts,
    faults: faults.slice(0, 3),
  };
}

function percentiles(values) {
  const sorted = Float64Array.from(values).sort();
  const at = (share) => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) / 1000;
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: (sorted.at(-1) ?? 0) / 1000 };
}

serveCommands(commands);
