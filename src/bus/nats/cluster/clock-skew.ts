/** How far the clocks of other nodes are from this one's, by what their heartbeats say. */
import type { Log } from '../../../broker/ports.ts';

/** Heartbeats looked at: what delays some of them must not be taken for a clock that is off. */
const WINDOW = 8;
/** Before it is told. */
const LEAST = 3;
/** Of one node, again after. */
const TOLD_EVERY_MS = 600_000;

interface Known {
  /** This clock less the other's, with what the heartbeat took on its way. */
  readonly differences: number[];
  toldAt: number;
}

export class ClockSkew {
  readonly #warnMs: number;
  readonly #log: Log;
  readonly #ticks: () => number;
  readonly #nodes = new Map<string, Known>();

  constructor(warnMs: number, log: Log, ticks: () => number) {
    this.#warnMs = warnMs;
    this.#log = log;
    this.#ticks = ticks;
  }

  /** The largest of all nodes, without its sign. */
  get largestMs(): number {
    let largest = 0;
    for (const known of this.#nodes.values()) largest = Math.max(largest, Math.abs(skewOf(known)));
    return largest;
  }

  heard(node: string, sentAt: number, now: number): void {
    const known = this.#nodes.get(node) ?? { differences: [], toldAt: Number.NEGATIVE_INFINITY };
    this.#nodes.set(node, known);
    known.differences.push(now - sentAt);
    if (known.differences.length > WINDOW) known.differences.shift();
    const skewMs = skewOf(known);
    if (Math.abs(skewMs) <= this.#warnMs || known.differences.length < LEAST) return;
    if (this.#ticks() - known.toldAt < TOLD_EVERY_MS) return;
    known.toldAt = this.#ticks();
    this.#log.warn(
      { node, skewMs, limitMs: this.#warnMs, fix: 'let both machines keep their time by NTP' },
      `the clock of node ${node} is ${Math.abs(skewMs)} ms ${skewMs > 0 ? 'behind' : 'ahead of'} this node's`,
    );
  }

  gone(node: string): void {
    this.#nodes.delete(node);
  }
}

/** A heartbeat takes its time, never less than none: the quickest tells most. */
function skewOf({ differences }: Known): number {
  return differences.length === 0 ? 0 : Math.min(...differences);
}
