/**
 * Nodes that share one installation have to agree on some settings. Each tells the others a digest with its heartbeats;
 * where it differs, the values are asked for and compared. A difference is told loudly. One that would make a room
 * durable on one node and live on another keeps the node that came later from serving: its members would see two orders,
 * and half of the events would not be kept.
 */
import type { Cancel, Cluster, NodeInfo } from './cluster.ts';
import type { Log } from './ports.ts';
import { mixesRooms, type RoomKind } from './room-kinds.ts';

/** What has to be the same on all nodes. */
export interface AgreedSettings {
  /** Of all of it. */
  readonly digest: string;
  /** Values in words, by the name of the setting. */
  readonly values: Readonly<Record<string, string>>;
  readonly rooms: readonly RoomKind[];
}

export interface Difference {
  readonly node: string;
  readonly setting: string;
  /** On this node, and on the other one. */
  readonly here: string;
  readonly there: string;
}

interface Compared {
  readonly incarnation: string;
  readonly digest: string;
  readonly differences: readonly Difference[];
  readonly mixes: boolean;
}

export interface AgreementParts {
  readonly cluster: Cluster;
  readonly settings: AgreedSettings;
  readonly askMs: number;
  readonly log: Log;
}

const TOPIC = 'cluster.settings';
const ABSENT = 'not set';
/** In one line, or one answer to a probe. */
const SHOWN = 5;

export class SettingsAgreement {
  readonly #parts: AgreementParts;
  readonly #compared = new Map<string, Compared>();
  readonly #asking = new Set<string>();
  readonly #cancels: readonly Cancel[];
  #settled: (() => void)[] = [];
  #serving = false;

  constructor(parts: AgreementParts) {
    this.#parts = parts;
    const { cluster, settings } = parts;
    this.#cancels = [
      cluster.answer(TOPIC, () => ({ values: settings.values, rooms: settings.rooms })),
      cluster.watchNodes((info, change) => {
        if (change === 'down') this.#compared.delete(info.node);
        else void this.#compare(info);
        this.#wake();
      }),
    ];
  }

  /** For this node's heartbeats. */
  get status(): { readonly settings: string; readonly serving: boolean } {
    return { settings: this.#parts.settings.digest, serving: this.#serving };
  }

  /** Resolves when no node that came before this one has rooms of another kind; when the cluster has started. */
  async settled(): Promise<void> {
    for (const info of this.#others()) void this.#compare(info);
    while (this.conflict !== undefined) await new Promise<void>((woken) => this.#settled.push(woken));
    this.#serving = true;
    this.#parts.cluster.announce();
  }

  /** To be called about once a second: who did not answer is asked again. */
  tick(): void {
    for (const info of this.#others()) void this.#compare(info);
  }

  close(): void {
    for (const cancel of this.#cancels) cancel();
  }

  get differences(): readonly Difference[] {
    return [...this.#compared.values()].flatMap(({ differences }) => differences);
  }

  /** Why this node may not serve, in words. */
  get conflict(): string | undefined {
    for (const info of this.#others()) {
      if (!this.#differs(info) || !this.#isBefore(info)) continue;
      const known = this.#known(info);
      if (known === undefined && !this.#serving)
        return `node ${info.node} has not said yet how its settings differ`;
      if (known?.mixes)
        return `rooms that are durable on one node are live on the other: ${detailOf(known.differences)}`;
    }
    return undefined;
  }

  /** Every difference, for people; empty: there is none. */
  get detail(): string {
    return detailOf(this.differences);
  }

  #others(): readonly NodeInfo[] {
    const { cluster } = this.#parts;
    return cluster.nodes().filter(({ node }) => node !== cluster.node);
  }

  #differs({ status }: NodeInfo): boolean {
    return status.settings !== undefined && status.settings !== this.#parts.settings.digest;
  }

  /** Who serves already stays; of two that do, or do not yet, the later one gives way. */
  #isBefore({ node, startedAt, status }: NodeInfo): boolean {
    if (status.serving === true && !this.#serving) return true;
    if (status.serving !== true && this.#serving) return false;
    const self = this.#parts.cluster.nodes()[0] as NodeInfo;
    return startedAt < self.startedAt || (startedAt === self.startedAt && node < self.node);
  }

  #known({ node, incarnation, status }: NodeInfo): Compared | undefined {
    const known = this.#compared.get(node);
    return known?.incarnation === incarnation && known.digest === status.settings ? known : undefined;
  }

  async #compare(info: NodeInfo): Promise<void> {
    const { cluster, askMs } = this.#parts;
    const { node, incarnation, status } = info;
    if (!this.#differs(info)) this.#compared.delete(node);
    else if (this.#known(info) === undefined && !this.#asking.has(node)) {
      this.#asking.add(node);
      const reply = await cluster.askNode(node, TOPIC, {}, askMs);
      this.#asking.delete(node);
      if (reply.ok) this.#found(node, incarnation, status.settings ?? '', reply.answer);
    }
    this.#wake();
  }

  #found(node: string, incarnation: string, digest: string, answer: unknown): void {
    const { settings, log } = this.#parts;
    const { values, rooms } = answer as Pick<AgreedSettings, 'values' | 'rooms'>;
    const names = new Set([...Object.keys(settings.values), ...Object.keys(values)]);
    const differences = [...names]
      .map((setting) => {
        const [here = ABSENT, there = ABSENT] = [settings.values[setting], values[setting]];
        return { node, setting, here, there };
      })
      .filter(({ here, there }) => here !== there);
    const mixes = mixesRooms(settings.rooms, rooms);
    this.#compared.set(node, { incarnation, digest, differences, mixes });
    for (const difference of differences)
      log.error(
        { ...difference, mixes },
        mixes
          ? 'two nodes have different settings, and a room would be durable on one and live on the other'
          : 'two nodes have different settings',
      );
  }

  #wake(): void {
    const woken = this.#settled;
    this.#settled = [];
    for (const wake of woken) wake();
  }
}

function detailOf(differences: readonly Difference[]): string {
  const shown = differences
    .slice(0, SHOWN)
    .map(({ node, setting, here, there }) => `${setting} is ${here} here and ${there} on ${node}`);
  const more = differences.length > SHOWN ? [`${differences.length - SHOWN} more`] : [];
  return [...shown, ...more].join('; ');
}
