/** The workers of one machine as nodes: what they tell and ask goes by the hub, which has the stores. */
import type {
  Answers,
  Cancel,
  Cluster,
  ClusterFigures,
  NodeAnswer,
  NodeChange,
  NodeInfo,
  NodeStatus,
  Store,
  Stored,
  Told,
} from '../../broker/cluster.ts';
import type { Clock, Log } from '../../broker/ports.ts';
import type { ClusterSettings, StateLimits } from '../../broker/settings.ts';
import { Listeners } from '../cluster/listeners.ts';
import { EXPIRE_EVERY_MS, Replica, type Write } from '../cluster/replica.ts';
import { checkTopic, Topics } from '../cluster/topics.ts';
import type { HubLine } from './line.ts';
import { LocalTalk } from './talk.ts';
import { LOST, type WireRow, type WireStore } from './wire.ts';

export interface LocalClusterParts {
  readonly line: HubLine;
  readonly node: string;
  /** Of this run of the process. */
  readonly incarnation: string;
  readonly status: () => NodeStatus;
  readonly settings: ClusterSettings;
  readonly limits: StateLimits;
  readonly clock: Clock;
  readonly log: Log;
}

const JOIN_MS = 10_000;

export class LocalCluster implements Cluster {
  readonly kind = 'local';
  readonly node: string;
  readonly incarnation: string;
  readonly #parts: LocalClusterParts;
  readonly #topics: Topics;
  readonly #talk: LocalTalk;
  readonly #replica: Replica;
  readonly #changed: Listeners<[NodeInfo, NodeChange]>;
  readonly #connection: Listeners<[boolean]>;
  readonly #others = new Map<string, NodeInfo>();
  readonly #startedAt: number;
  readonly #timers: NodeJS.Timeout[] = [];
  #joined: () => void = () => undefined;

  constructor(parts: LocalClusterParts) {
    const { line, node, incarnation, clock, log, limits, settings } = parts;
    this.node = node;
    this.incarnation = incarnation;
    this.#parts = parts;
    this.#startedAt = clock.now();
    this.#topics = new Topics(log);
    this.#changed = new Listeners('a watch of the nodes', log);
    this.#connection = new Listeners('a watch of the connection', log);
    this.#replica = new Replica({ limits, clock, log, write: (write) => this.#write(write) });
    const others = () => [...this.#others.keys()];
    const { messageBytes } = settings;
    this.#talk = new LocalTalk({ line, topics: this.#topics, node, messageBytes, others, log });
    line.on({
      joined: (nodes, stores) => this.#welcomed(nodes, stores),
      node: (info, change) => this.#node(info, change),
      change: (store, key, row) => this.#change(store, key, row),
    });
    line.whenLost(() => this.#connection.tell(false));
  }

  /** Throws when the hub does not answer. */
  async start(): Promise<void> {
    const { line, settings, status } = this.#parts;
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('the hub of the workers does not answer')), JOIN_MS);
      this.#joined = () => {
        clearTimeout(late);
        resolve();
      };
      line.whenLost(() => {
        clearTimeout(late);
        reject(new Error(LOST.reason));
      });
      line.send('join', this.#self());
    });
    this.#timers.push(
      setInterval(() => this.#replica.expire(), EXPIRE_EVERY_MS),
      setInterval(() => line.send('status', status()), settings.heartbeatMs),
    );
  }

  async close(): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#replica.ready = false;
    this.#parts.line.send('bye');
  }

  get connected(): boolean {
    return this.#parts.line.up;
  }

  watchConnected(heard: (connected: boolean) => void): Cancel {
    return this.#connection.add(heard);
  }

  nodes(): readonly NodeInfo[] {
    return [this.#self(), ...this.#others.values()];
  }

  watchNodes(heard: (info: NodeInfo, change: NodeChange) => void): Cancel {
    return this.#changed.add(heard);
  }

  announce(): void {
    this.#parts.line.send('status', this.#parts.status());
  }

  tell(topic: string, message: unknown): Told {
    checkTopic(topic);
    return this.#talk.tell(topic, message, null);
  }

  tellNode(node: string, topic: string, message: unknown): Told {
    checkTopic(topic);
    return this.#talk.tell(topic, message, node);
  }

  hear(topic: string, heard: (message: unknown, from: string) => void): Cancel {
    return this.#topics.hear(topic, heard);
  }

  ask(topic: string, question: unknown, timeoutMs: number): Promise<Answers> {
    return this.#talk.ask(topic, question, timeoutMs);
  }

  askNode(node: string, topic: string, question: unknown, timeoutMs: number): Promise<NodeAnswer> {
    return this.#talk.askNode(node, topic, question, timeoutMs);
  }

  answer(topic: string, reply: (question: unknown, from: string) => unknown): Cancel {
    return this.#topics.answer(topic, reply);
  }

  store(name: string): Store {
    return this.#replica.store(name);
  }

  figures(): ClusterFigures {
    return {
      nodes: 1 + this.#others.size,
      connected: this.connected,
      tells: { ...this.#talk.tells },
      asks: { ...this.#talk.asks },
      writes: { ...this.#replica.writes },
      stores: this.#replica.figures(),
      storesAgeMs: this.#replica.ready && this.connected ? 0 : Number.NaN,
    };
  }

  #self(): NodeInfo {
    const { node, incarnation } = this;
    return { node, incarnation, startedAt: this.#startedAt, status: this.#parts.status() };
  }

  #welcomed(nodes: readonly NodeInfo[], stores: readonly WireStore[]): void {
    for (const info of nodes) this.#node(info, 'up');
    for (const [name, rows] of stores) for (const [key, ...row] of rows) this.#change(name, key, row);
    this.#replica.ready = true;
    this.#joined();
  }

  #node(info: NodeInfo, change: NodeChange): void {
    if (change === 'down') this.#others.delete(info.node);
    else this.#others.set(info.node, info);
    this.#changed.tell(info, change);
    if (change === 'down') this.#talk.gone(info.node);
  }

  #change(name: string, key: string, row: WireRow | null): void {
    const store = this.#replica.store(name);
    if (row === null) return store.remove(key);
    const [text, revision, expiresAt] = row;
    store.apply({ key, text, revision, expiresAt: expiresAt ?? undefined });
  }

  async #write(write: Write): Promise<Stored> {
    return (await this.#parts.line.asked('write', write)) ?? { ok: false, why: 'unavailable' };
  }
}
