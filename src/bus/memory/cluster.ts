/** A cluster of one: the embedded bus has no others. Its stores are in memory, or in a file as well. */
import type {
  Answers,
  Cancel,
  Cluster,
  ClusterFigures,
  NodeAnswer,
  NodeInfo,
  NodeStatus,
  Store,
  Told,
} from '../../broker/cluster.ts';
import type { Clock, Log } from '../../broker/ports.ts';
import type { ClusterSettings, StateLimits } from '../../broker/settings.ts';
import { OwnStores } from '../cluster/own.ts';
import { EXPIRE_EVERY_MS, Replica, type Row } from '../cluster/replica.ts';
import { checkTopic, jsonText, Topics } from '../cluster/topics.ts';
import { StateFile } from './statefile.ts';

export interface MemoryClusterParts {
  readonly node: string;
  /** Of this run of the process. */
  readonly incarnation: string;
  readonly status: () => NodeStatus;
  readonly settings: ClusterSettings;
  readonly limits: StateLimits;
  /** Where the stores are kept through restarts, by one process only; absent: nowhere. */
  readonly dir?: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

const none: Cancel = () => undefined;

export class MemoryCluster implements Cluster {
  readonly kind = 'embedded';
  readonly node: string;
  readonly incarnation: string;
  readonly connected = true;
  readonly #parts: MemoryClusterParts;
  readonly #topics: Topics;
  readonly #replica: Replica;
  readonly #file: StateFile | undefined;
  readonly #own: OwnStores;
  readonly #startedAt: number;
  #timer: NodeJS.Timeout | undefined;
  readonly #tells = { sent: 0, too_large: 0, unavailable: 0, heard: 0, ignored: 0 };
  readonly #asks = { whole: 0, partial: 0, answered: 0 };

  constructor(parts: MemoryClusterParts) {
    const { node, incarnation, clock, log, limits, dir } = parts;
    this.node = node;
    this.incarnation = incarnation;
    this.#parts = parts;
    this.#startedAt = clock.now();
    this.#topics = new Topics(log);
    this.#file = dir === undefined ? undefined : new StateFile(dir, () => this.#state());
    this.#replica = new Replica({ limits, clock, log, write: (write) => this.#own.write(write) });
    this.#own = new OwnStores(this.#replica, log, this.#file && (() => this.#saved()));
  }

  /** Throws when the file of the stores cannot be read. */
  async start(): Promise<void> {
    const saved = await this.#file?.read();
    for (const [name, rows] of Object.entries(saved?.stores ?? {}))
      for (const row of rows) this.#replica.store(name).apply(row);
    this.#own.revision = saved?.revision ?? 0;
    this.#replica.ready = true;
    this.#timer ??= setInterval(() => this.#replica.expire(), EXPIRE_EVERY_MS).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#replica.ready = false;
  }

  watchConnected(): Cancel {
    return none;
  }

  nodes(): readonly NodeInfo[] {
    const { node, incarnation } = this;
    return [{ node, incarnation, startedAt: this.#startedAt, status: this.#parts.status() }];
  }

  watchNodes(): Cancel {
    return none;
  }

  announce(): void {}

  tell(topic: string, message: unknown): Told {
    checkTopic(topic);
    return this.#told(this.#fits(jsonText(message)) ? 'sent' : 'too_large');
  }

  /** There is no other node. */
  tellNode(_node: string, topic: string, message: unknown): Told {
    return this.tell(topic, message);
  }

  hear(topic: string, heard: (message: unknown, from: string) => void): Cancel {
    return this.#topics.hear(topic, heard);
  }

  async ask(topic: string, question: unknown, timeoutMs: number): Promise<Answers> {
    const answered = await this.askNode(this.node, topic, question, timeoutMs);
    this.#asks[answered.ok ? 'whole' : 'partial']++;
    return answered.ok
      ? { answers: new Map([[this.node, answered.answer]]), missing: [] }
      : { answers: new Map(), missing: [this.node] };
  }

  async askNode(node: string, topic: string, question: unknown, timeoutMs: number): Promise<NodeAnswer> {
    if (node !== this.node) return { ok: false, why: 'unknown_node' };
    const text = jsonText(question);
    if (!this.#fits(text)) return { ok: false, why: 'too_large' };
    return this.#topics.answered(topic, text, this.node, timeoutMs);
  }

  answer(topic: string, reply: (question: unknown, from: string) => unknown): Cancel {
    return this.#topics.answer(topic, reply);
  }

  store(name: string): Store {
    return this.#replica.store(name);
  }

  figures(): ClusterFigures {
    return {
      nodes: 1,
      connected: true,
      skewMs: 0,
      tells: { ...this.#tells },
      asks: { ...this.#asks },
      writes: { ...this.#replica.writes },
      stores: this.#replica.figures(),
      storesAgeMs: this.#replica.ready ? 0 : Number.NaN,
    };
  }

  #fits(text: string): boolean {
    return Buffer.byteLength(text) <= this.#parts.settings.messageBytes;
  }

  #told(outcome: Told): Told {
    this.#tells[outcome]++;
    return outcome;
  }

  async #saved(): Promise<void> {
    await this.#file?.save();
  }

  #state() {
    const stores: Record<string, readonly Row[]> = {};
    for (const store of this.#replica.stores) stores[store.name] = [...store.rows()];
    return { revision: this.#own.revision, stores };
  }
}
