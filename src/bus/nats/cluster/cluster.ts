/** The cluster of nodes that share NATS: heartbeats and messages over core NATS, stores in a JetStream stream. */
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
} from '../../../broker/cluster.ts';
import type { Clock, Log } from '../../../broker/ports.ts';
import type { ClusterSettings, StateLimits } from '../../../broker/settings.ts';
import { withNotice } from '../../../broker/wait-notice.ts';
import { Listeners } from '../../cluster/listeners.ts';
import { OwnStores } from '../../cluster/own.ts';
import { EXPIRE_EVERY_MS, Replica, type Write } from '../../cluster/replica.ts';
import { checkTopic, Topics } from '../../cluster/topics.ts';
import { Requests } from '../acks.ts';
import type { Link } from '../connection.ts';
import { type Env, environment } from '../env.ts';
import type { NatsOptions } from '../options.ts';
import { HEADER_BYTES, Streams, withoutHistory } from '../streams.ts';
import type { Timers } from '../timers.ts';
import { Keeper } from './keeper.ts';
import { ClusterSubjects } from './names.ts';
import { Pulse } from './pulse.ts';
import { StateReader } from './reader.ts';
import { stateStream } from './stream.ts';
import { Talk } from './talk.ts';
import { Writer } from './writer.ts';

export interface NatsClusterParts {
  /** Of the bus, which must have been started before this cluster and is closed after it. */
  readonly link: () => Link;
  readonly options: NatsOptions;
  readonly settings: ClusterSettings;
  readonly limits: StateLimits;
  readonly node: string;
  /** Of this run of the process. */
  readonly incarnation: string;
  readonly status: () => NodeStatus;
  readonly clock: Clock;
  readonly log: Log;
  readonly timers?: Timers;
  readonly ticks?: () => number;
  readonly random?: () => number;
}

/** All that exists only with a connection. */
interface Running {
  readonly link: Link;
  readonly requests: Requests;
  readonly talk: Talk;
  readonly pulse: Pulse;
  /** undefined: NATS cannot keep the stores. */
  readonly keeper: Keeper | undefined;
}

/** The others answer a hello within 50 ms; after this they are known. */
const HELLO_MS = 250;

export class NatsCluster implements Cluster {
  readonly kind = 'nats';
  readonly node: string;
  readonly incarnation: string;
  readonly #parts: NatsClusterParts;
  readonly #env: Env;
  readonly #subjects: ClusterSubjects;
  readonly #topics: Topics;
  readonly #replica: Replica;
  readonly #changed: Listeners<[NodeInfo, NodeChange]>;
  readonly #connection: Listeners<[boolean]>;
  readonly #startedAt: number;
  readonly #stops: Cancel[] = [];
  #write: (write: Write) => Promise<Stored> = async () => ({ ok: false, why: 'unavailable' });
  #running: Running | undefined;
  #closed = false;

  constructor(parts: NatsClusterParts) {
    const { node, incarnation, clock, log, limits } = parts;
    this.node = node;
    this.incarnation = incarnation;
    this.#parts = parts;
    this.#env = environment(clock, log, parts.timers, parts.ticks, parts.random);
    this.#subjects = new ClusterSubjects(parts.options.prefix);
    this.#topics = new Topics(log);
    this.#replica = new Replica({ limits, clock, log, write: (write) => this.#write(write) });
    this.#changed = new Listeners('a watch of the nodes', log);
    this.#connection = new Listeners('a watch of the connection', log);
    this.#startedAt = clock.now();
  }

  async start(): Promise<void> {
    const { options, settings } = this.#parts;
    const link = this.#parts.link();
    checkPayload(link, settings.messageBytes);
    const inbox = this.#subjects.answers(this.incarnation);
    const requests = new Requests(link.connection, inbox, this.#env, link.outlet);
    this.#stops.push(() => requests.close());
    const keeper = await this.#keeper(link, requests);
    const talk = this.#talk(link, requests);
    const pulse = this.#pulse(link, keeper);
    this.#running = { link, requests, talk, pulse, keeper };
    this.#stops.push(
      link.watch({ lost: () => this.#lost(), back: () => this.#back() }),
      () => talk.close(),
      this.#env.timers.every(EXPIRE_EVERY_MS, () => this.#replica.expire()),
    );
    pulse.start();
    const read = Promise.race([keeper?.read(), this.#env.sleep(options.startTimeoutMs)]);
    const wait = {
      what: `the stores of the cluster (${this.#subjects.stream})`,
      why: () => undefined,
      fix: 'look at the servers of NATS: nats server report jetstream',
      givesUpMs: options.startTimeoutMs,
    };
    await withNotice(wait, { log: this.#env.log, alarm: this.#env.timers.after }, () =>
      Promise.all([read, this.#env.sleep(HELLO_MS)]),
    );
    if (!this.#replica.ready) throw new Error(`NATS does not answer for ${this.#subjects.stream}`);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#replica.ready = false;
    this.#running?.pulse.close();
    for (const stop of this.#stops.splice(0).reverse()) stop();
    this.#running?.keeper?.close();
  }

  get connected(): boolean {
    return !this.#closed && this.#running?.link.connected() === true;
  }

  watchConnected(heard: (connected: boolean) => void): Cancel {
    return this.#connection.add(heard);
  }

  nodes(): readonly NodeInfo[] {
    return [this.#self(), ...(this.#running?.pulse.others ?? [])];
  }

  watchNodes(heard: (info: NodeInfo, change: NodeChange) => void): Cancel {
    return this.#changed.add(heard);
  }

  announce(): void {
    this.#running?.pulse.beat();
  }

  tell(topic: string, message: unknown): Told {
    checkTopic(topic);
    return this.#running?.talk.tell(topic, message) ?? 'unavailable';
  }

  tellNode(node: string, topic: string, message: unknown): Told {
    checkTopic(topic);
    return this.#running?.talk.tellNode(node, topic, message) ?? 'unavailable';
  }

  hear(topic: string, heard: (message: unknown, from: string) => void): Cancel {
    const first = () => this.#running?.talk.follow(topic);
    const idle = () => this.#running?.talk.unfollow(topic);
    return this.#topics.hear(topic, heard, first, idle);
  }

  async ask(topic: string, question: unknown, timeoutMs: number): Promise<Answers> {
    const talk = this.#running?.talk;
    return talk === undefined
      ? { answers: new Map(), missing: [this.node] }
      : talk.ask(topic, question, timeoutMs);
  }

  async askNode(node: string, topic: string, question: unknown, timeoutMs: number): Promise<NodeAnswer> {
    const talk = this.#running?.talk;
    return talk === undefined
      ? { ok: false, why: 'unavailable' }
      : talk.askNode(node, topic, question, timeoutMs);
  }

  answer(topic: string, reply: (question: unknown, from: string) => unknown): Cancel {
    return this.#topics.answer(topic, reply);
  }

  store(name: string): Store {
    return this.#replica.store(name);
  }

  figures(): ClusterFigures {
    const { talk, keeper, pulse } = this.#running ?? {};
    return {
      nodes: this.nodes().length,
      connected: this.connected,
      skewMs: pulse?.skewMs ?? 0,
      tells: { ...(talk?.tells ?? { sent: 0, too_large: 0, unavailable: 0, heard: 0, ignored: 0 }) },
      asks: { ...(talk?.asks ?? { whole: 0, partial: 0, answered: 0 }) },
      writes: { ...this.#replica.writes },
      stores: this.#replica.figures(),
      storesAgeMs: keeper?.ageMs ?? Number.NaN,
    };
  }

  #self(): NodeInfo {
    const { node, incarnation } = this;
    return { node, incarnation, startedAt: this.#startedAt, status: this.#parts.status() };
  }

  #talk(link: Link, requests: Requests): Talk {
    return new Talk({
      env: this.#env,
      link,
      requests,
      subjects: this.#subjects,
      topics: this.#topics,
      node: this.node,
      messageBytes: this.#parts.settings.messageBytes,
      others: () => this.#running?.pulse.others.map(({ node }) => node) ?? [],
    });
  }

  #pulse(link: Link, keeper: Keeper | undefined): Pulse {
    return new Pulse({
      ...this.#parts.settings,
      env: this.#env,
      link,
      subject: this.#subjects.beat,
      self: () => this.#self(),
      head: () => keeper?.head ?? { created: '', last: 0 },
      changed: (info, change) => this.#changed.tell(info, change),
      heads: (head) => keeper?.heard(head),
    });
  }

  /** undefined, with stores of this node's own, where NATS cannot keep them. Throws when the stream does not fit. */
  async #keeper(link: Link, requests: Requests): Promise<Keeper | undefined> {
    const { options, limits, log, incarnation } = this.#parts;
    const cannot = withoutHistory(link.connection);
    if (cannot !== undefined) {
      log.warn(
        { reason: cannot },
        'NATS cannot keep policies, revocations and bans: each node has its own, until it ends',
      );
      const own = new OwnStores(this.#replica, log);
      this.#write = (write) => own.write(write);
      this.#replica.ready = true;
      return undefined;
    }
    const plan = (replicas: number) => [stateStream(replicas, options, limits)];
    const streams = new Streams(link.connection, options, plan, link.wider);
    await streams.ensured(options.startTimeoutMs, this.#env);
    const reader = new StateReader(requests, this.#subjects);
    const common = { env: this.#env, link, subjects: this.#subjects, reader, replica: this.#replica };
    const keeper: Keeper = new Keeper({
      ...common,
      recreate: async () => (await streams.recreate(this.#subjects.stream)) === 'there',
      restore: (store, row) => writer.restore(store, row),
    });
    const writer = new Writer({ ...common, requests, keeper, incarnation });
    this.#write = (write) => writer.write(write);
    return keeper;
  }

  #lost(): void {
    this.#running?.requests.lost();
    this.#running?.keeper?.lost();
    this.#connection.tell(false);
  }

  #back(): void {
    this.#running?.pulse.back();
    void this.#running?.keeper?.read();
    this.#connection.tell(true);
  }
}

function checkPayload({ connection }: Link, messageBytes: number): void {
  const max = connection.info?.max_payload ?? 0;
  if (messageBytes + HEADER_BYTES <= max) return;
  throw new Error(
    `the NATS server takes messages of ${max} bytes (max_payload), and cluster.messageBytes is ${messageBytes}, which ` +
      `takes ${messageBytes + HEADER_BYTES} with its headers: raise the one or lower the other.`,
  );
}
