/** Nodes that tell one another over a network which loses, repeats, delays and cuts off; every choice by a seed. */
import type { Answers, Cluster, NodeChange, NodeInfo, Told } from '../../../src/broker/cluster.ts';
import { Gossip } from '../../../src/broker/presence/gossip.ts';
import { RoomPresence } from '../../../src/broker/presence/view.ts';
import type { PresenceSettings } from '../../../src/broker/settings.ts';
import type { Rng } from '../../support/rng.ts';

export const SETTINGS: PresenceSettings = {
  batchMs: 0,
  graceMs: 5000,
  drainGraceMs: 5000,
  joinWaitMs: 250,
  // Never: what it repairs is repaired by the beats before.
  digestMs: Number.POSITIVE_INFINITY,
  fullMembers: 1000,
  deltaMembers: 5000,
  kept: 1000,
  messageBytes: 1024,
  silenceMs: 4000,
  heartbeatMs: 2000,
  countMs: 1000,
  sketch: 64,
  othersNames: 1_000_000,
  othersSketches: 65_536,
};

const STATUS = { connections: 0, acceptsPerSecond: 0, loopLagMs: 0, draining: false };

/** The part of `Cluster` that presence needs. */
type Needed = Pick<
  Cluster,
  | 'node'
  | 'incarnation'
  | 'nodes'
  | 'tell'
  | 'tellNode'
  | 'hear'
  | 'ask'
  | 'answer'
  | 'watchNodes'
  | 'watchConnected'
>;

/** One run of a node, with its view of one room. */
export class SimPod implements Needed {
  readonly node: string;
  readonly incarnation: string;
  readonly load = { names: 0, hashes: 0 };
  readonly view: RoomPresence;
  readonly gossip: Gossip;
  readonly left: string[] = [];
  connected = true;
  readonly replies = new Map<string, (question: unknown, from: string) => unknown>();
  readonly heard = new Map<string, (message: unknown, from: string) => void>();
  nodeChanged: (info: NodeInfo, change: NodeChange) => void = () => undefined;
  reconnected: (connected: boolean) => void = () => undefined;
  #deferred: (() => void)[] = [];
  readonly #net: Network;

  constructor(net: Network, node: string, incarnation: string) {
    this.#net = net;
    this.node = node;
    this.incarnation = incarnation;
    this.view = new RoomPresence('t\0room', { sketch: net.settings.sketch, load: this.load });
    this.gossip = new Gossip({
      cluster: this as unknown as Cluster,
      settings: net.settings,
      clock: { now: () => net.now },
      after: (ms, task) => net.after(ms, task),
      defer: (task) => void this.#deferred.push(task),
      views: new Map([[this.view.key, this.view]]),
      load: this.load,
      changed: () => undefined,
      idle: () => undefined,
    });
    this.view.watchersJson = 1;
  }

  nodes(): readonly NodeInfo[] {
    return [this, ...this.#net.pods.filter((pod) => pod !== this)].map(infoOf);
  }

  tell(topic: string, message: unknown): Told {
    if (!this.connected) return 'unavailable';
    for (const pod of this.#net.pods) if (pod !== this) this.#net.send(this, pod, topic, message);
    return 'sent';
  }

  tellNode(node: string, topic: string, message: unknown): Told {
    if (!this.connected) return 'unavailable';
    for (const pod of this.#net.pods) if (pod.node === node) this.#net.send(this, pod, topic, message);
    return 'sent';
  }

  hear(topic: string, heard: (message: unknown, from: string) => void) {
    this.heard.set(topic, heard);
    return () => this.heard.delete(topic);
  }

  /** Without loss: whoever asks asks again. */
  async ask(topic: string, question: unknown): Promise<Answers> {
    const there = this.connected ? this.#net.pods.filter(({ connected }) => connected) : [this];
    const answers = there.map((pod) => [pod.node, pod.replies.get(topic)?.(question, this.node)] as const);
    const silent = this.#net.pods.filter((pod) => !there.includes(pod));
    return { answers: new Map(answers), missing: silent.map(({ node }) => node) };
  }

  answer(topic: string, reply: (question: unknown, from: string) => unknown) {
    this.replies.set(topic, reply);
    return () => this.replies.delete(topic);
  }

  watchNodes(heard: (info: NodeInfo, change: NodeChange) => void) {
    this.nodeChanged = heard;
    return () => undefined;
  }

  watchConnected(heard: (connected: boolean) => void) {
    this.reconnected = heard;
    return () => undefined;
  }

  /** What waited is told, and what has changed is taken as a watcher's frame would. */
  flush(): void {
    this.gossip.tell(this.view);
    for (const task of this.#deferred.splice(0)) task();
    this.left.push(...this.view.take().left);
  }
}

export function infoOf({ node, incarnation }: SimPod): NodeInfo {
  return { node, incarnation, startedAt: 0, status: STATUS };
}

interface Message {
  readonly from: SimPod;
  readonly to: SimPod;
  readonly topic: string;
  readonly text: string;
}

export class Network {
  now = 1_700_000_000_000;
  readonly pods: SimPod[] = [];
  readonly rng: Rng;
  readonly settings: PresenceSettings;
  /** What has been sent, by topic. */
  readonly bytes = new Map<string, number>();
  /** Shares of messages, until it is healed. */
  faults = { lost: 0.1, twice: 0.1, late: 0.2 };
  /** Messages by topic. */
  readonly sent = new Map<string, number>();
  #runs = 0;
  #under: Message[] = [];
  #timers: { readonly at: number; readonly task: () => void }[] = [];

  constructor(rng: Rng, nodes: number, settings: PresenceSettings = SETTINGS) {
    this.rng = rng;
    this.settings = settings;
    for (let at = 0; at < nodes; at++) this.start(`n${at}`);
  }

  start(node: string): SimPod {
    const pod = new SimPod(this, node, `${node}-${++this.#runs}`);
    this.pods.push(pod);
    for (const other of this.pods) if (other !== pod) other.nodeChanged(infoOf(pod), 'up');
    pod.gossip.listen(pod.view);
    return pod;
  }

  /** Without a word. The others notice. */
  kill(pod: SimPod): void {
    this.pods.splice(this.pods.indexOf(pod), 1);
    this.#under = this.#under.filter(({ to }) => to !== pod);
    for (const other of this.pods) other.nodeChanged(infoOf(pod), 'down');
  }

  send(from: SimPod, to: SimPod, topic: string, message: unknown): void {
    const { lost, twice } = this.faults;
    this.sent.set(topic, (this.sent.get(topic) ?? 0) + 1);
    if (!to.connected || this.rng.chance(lost)) return;
    const one = { from, to, topic, text: JSON.stringify(message) };
    this.bytes.set(topic, (this.bytes.get(topic) ?? 0) + one.text.length);
    this.#under.push(one);
    if (this.rng.chance(twice)) this.#under.push(one);
  }

  /** One message arrives, mostly the oldest. */
  deliver(): void {
    const at = this.rng.chance(this.faults.late) ? this.rng.below(this.#under.length) : 0;
    const [message] = this.#under.splice(at, 1);
    if (message === undefined) return;
    const { from, to, topic, text } = message;
    to.heard.get(topic)?.(JSON.parse(text), from.node);
  }

  /** Everything that is under way arrives, and what follows from it. */
  settle(): void {
    do {
      for (const pod of this.pods) pod.flush();
      while (this.#under.length > 0) this.deliver();
      for (const pod of this.pods) pod.flush();
    } while (this.#under.length > 0);
  }

  after(ms: number, task: () => void): void {
    this.#timers.push({ at: this.now + ms, task });
  }

  /** Time without a tick. */
  pass(ms: number): void {
    this.now += ms;
    const due = this.#timers.filter(({ at }) => at <= this.now);
    this.#timers = this.#timers.filter((timer) => !due.includes(timer));
    for (const { task } of due) task();
  }

  second(): void {
    this.pass(1000);
    for (const pod of this.pods) pod.gossip.tick();
    this.settle();
  }
}
