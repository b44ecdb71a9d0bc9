/** Who is there, from heartbeats. Time is an argument: milliseconds, never going back. */
import type { NodeChange, NodeInfo } from '../../../broker/cluster.ts';

interface Known {
  info: NodeInfo;
  seenAt: number;
}

export class Roster {
  readonly #limitMs: number;
  readonly #changed: (info: NodeInfo, change: NodeChange) => void;
  readonly #known = new Map<string, Known>();

  /** A node is down after a silence of `limitMs`. */
  constructor(limitMs: number, changed: (info: NodeInfo, change: NodeChange) => void) {
    this.#limitMs = limitMs;
    this.#changed = changed;
  }

  get others(): NodeInfo[] {
    return [...this.#known.values()].map(({ info }) => info);
  }

  has(node: string): boolean {
    return this.#known.has(node);
  }

  heard(info: NodeInfo, now: number): void {
    const known = this.#known.get(info.node);
    if (known?.info.incarnation === info.incarnation) {
      const before = known.info.status;
      known.info = info;
      known.seenAt = now;
      if (JSON.stringify(before) !== JSON.stringify(info.status)) this.#changed(info, 'changed');
      return;
    }
    // The last words of a former run, overtaken by the first of the next.
    if (known !== undefined && info.startedAt < known.info.startedAt) return;
    this.#known.set(info.node, { info, seenAt: now });
    if (known !== undefined) this.#changed(known.info, 'down');
    this.#changed(info, 'up');
  }

  bye(node: string, incarnation: string): void {
    if (this.#known.get(node)?.info.incarnation === incarnation) this.#end(node);
  }

  /** Somebody may be down: worth to make sure that this node would have heard. */
  suspects(now: number): boolean {
    for (const { seenAt } of this.#known.values()) if (now - seenAt >= this.#limitMs) return true;
    return false;
  }

  /** Whatever was said up to `heardUntil` has arrived: who was silent for too long by then, is down. */
  judge(heardUntil: number): void {
    for (const [node, { seenAt }] of this.#known) if (heardUntil - seenAt >= this.#limitMs) this.#end(node);
  }

  /** This node was deaf: the silence of the others until now says nothing. */
  forgive(now: number): void {
    for (const known of this.#known.values()) known.seenAt = now;
  }

  #end(node: string): void {
    const known = this.#known.get(node);
    if (known === undefined) return;
    this.#known.delete(node);
    this.#changed(known.info, 'down');
  }
}
