/** Heartbeats: this node's own, and what the others' say. */
import type { Cancel, NodeChange, NodeInfo } from '../../../broker/cluster.ts';
import type { Link } from '../connection.ts';
import type { Env } from '../env.ts';
import { guarded } from '../guard.ts';
import { ClockSkew } from './clock-skew.ts';
import { Roster } from './roster.ts';

/** How far a node's copy of the stores reaches, so that one that has missed the last change learns of it. */
export interface Head {
  /** When the stream was made, as the server writes it; empty: not known. */
  readonly created: string;
  readonly last: number;
}

interface Beat extends NodeInfo {
  /** hello: the others should say that they are there; bye: it leaves. */
  readonly kind: 'hello' | 'beat' | 'bye';
  readonly head: Head;
  /** Milliseconds since 1970, by its own clock. Absent: a former version does not tell. */
  readonly sentAt?: number;
}

export interface PulseParts {
  readonly env: Env;
  readonly link: Link;
  readonly subject: string;
  readonly self: () => NodeInfo;
  readonly head: () => Head;
  readonly heartbeatMs: number;
  readonly missed: number;
  readonly skewWarnMs: number;
  readonly changed: (info: NodeInfo, change: NodeChange) => void;
  readonly heads: (head: Head) => void;
}

const SWEEP_MS = 100;
/** Answers to a hello are spread over this, and several hellos answered by one. */
const HELLO_WITHIN_MS = 50;
/** Two nodes of one name are told of so often. */
const TWIN_EVERY_MS = 60_000;

export class Pulse {
  readonly #parts: PulseParts;
  readonly #roster: Roster;
  readonly #skew: ClockSkew;
  readonly #stops: Cancel[] = [];
  #answering = false;
  #proving = false;
  #twinAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(parts: PulseParts) {
    this.#parts = parts;
    const { env } = parts;
    this.#skew = new ClockSkew(parts.skewWarnMs, env.log, env.ticks);
    this.#roster = new Roster(parts.heartbeatMs * parts.missed, (info, change) => {
      if (change === 'down') this.#skew.gone(info.node);
      parts.changed(info, change);
    });
  }

  get others(): NodeInfo[] {
    return this.#roster.others;
  }

  get skewMs(): number {
    return this.#skew.largestMs;
  }

  has(node: string): boolean {
    return this.#roster.has(node);
  }

  start(): void {
    const { env, link, subject, heartbeatMs } = this.#parts;
    const heard = guarded<[unknown, { json<T>(): T }]>(env.log, 'a heartbeat', (error, msg) => {
      if (error === null) this.#heard(msg.json<Beat>());
    });
    const subscription = link.connection.subscribe(subject, { callback: heard });
    this.#stops.push(
      () => subscription.unsubscribe(),
      env.timers.every(heartbeatMs, () => this.beat()),
      env.timers.every(SWEEP_MS, () => this.#sweep()),
    );
    this.#say('hello');
  }

  beat(): void {
    this.#say('beat');
  }

  /** After a loss of the connection. */
  back(): void {
    this.#roster.forgive(this.#parts.env.ticks());
    this.#say('hello');
  }

  close(): void {
    if (this.#closed) return;
    this.#say('bye');
    this.#closed = true;
    for (const stop of this.#stops.splice(0)) stop();
  }

  #say(kind: Beat['kind']): void {
    const { link, subject, self, head, env } = this.#parts;
    if (this.#closed || !link.connected()) return;
    const beat: Beat = { kind, ...self(), head: head(), sentAt: env.now() };
    link.outlet.publish(subject, JSON.stringify(beat), undefined, undefined, (error) =>
      env.log.warn({ err: error }, 'a heartbeat could not be sent'),
    );
  }

  #heard({ kind, head, node, incarnation, startedAt, status, sentAt }: Beat): void {
    const { env, self, heads } = this.#parts;
    if (node === self().node) return this.#twin(incarnation);
    if (kind === 'bye') return this.#roster.bye(node, incarnation);
    this.#roster.heard({ node, incarnation, startedAt, status }, env.ticks());
    if (sentAt !== undefined) this.#skew.heard(node, sentAt, env.now());
    heads(head);
    if (kind !== 'hello' || this.#answering) return;
    this.#answering = true;
    env.timers.after(env.random() * HELLO_WITHIN_MS, () => {
      this.#answering = false;
      this.beat();
    });
  }

  /** Its own heartbeats do not come back to a node (`noEcho`): this one is another's. */
  #twin(incarnation: string): void {
    const { env, self } = this.#parts;
    const now = env.ticks();
    if (now - this.#twinAt < TWIN_EVERY_MS) return;
    this.#twinAt = now;
    env.log.error(
      { node: self().node, incarnation },
      'two nodes have the same node.serverId: each takes the messages of the other',
    );
  }

  /**
   * Silence says that a node is down only if this one can hear: after a pause of this process, or with a server that
   * hangs, nothing has been read for as long. What was said before the server answers a ping has then arrived.
   */
  #sweep(): void {
    const { env, link } = this.#parts;
    const now = env.ticks();
    if (this.#proving || !link.connected() || !this.#roster.suspects(now)) return;
    this.#proving = true;
    link.connection.flush().then(
      () => {
        this.#proving = false;
        if (!this.#closed && link.connected()) this.#roster.judge(now);
      },
      () => {
        // The connection broke; `back` gives the others their time again.
        this.#proving = false;
      },
    );
  }
}
