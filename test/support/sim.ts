import { createTickets } from '../../src/auth/tickets.ts';
import type { Cluster } from '../../src/broker/cluster.ts';
import type { Exclusions } from '../../src/broker/exclusion/exclusions.ts';
import type { PassedIdentity } from '../../src/broker/exclusion/gate.ts';
import type { FateSettings } from '../../src/broker/fate/witness.ts';
import { Hub } from '../../src/broker/hub.ts';
import { Policies, type PolicyOverride, UNLIMITED } from '../../src/broker/limits/policy.ts';
import { Tenants } from '../../src/broker/limits/tenants.ts';
import type {
  Bus,
  Clock,
  Connection,
  Cursors,
  Fanout,
  Identity,
  Log,
  Peer,
  Resumption,
  TokenVerifier,
} from '../../src/broker/ports.ts';
import type {
  AbuseSettings,
  Batching,
  Limits,
  PresenceSettings,
  RoomPolicy,
} from '../../src/broker/settings.ts';
import { Tally } from '../../src/broker/tally.ts';
import { MemoryBus } from '../../src/bus/memory/bus.ts';
import { MemoryCluster } from '../../src/bus/memory/cluster.ts';
import { MemoryCursors } from '../../src/bus/memory/cursors.ts';
import type { Encoding, ServerFrame } from '../../src/protocol/frames.ts';
import { compilePattern } from '../../src/protocol/room.ts';
import { exclusionsOf, memoryCluster } from './exclusions.ts';
import { LIMITS } from './limits.ts';

const EXPLAIN: FateSettings = {
  rooms: 100,
  roomEvents: 100,
  sessionNotes: 20,
  bytes: 1_048_576,
  keepMs: 60_000,
};

const PRESENCE: PresenceSettings = {
  batchMs: 0,
  graceMs: 5000,
  drainGraceMs: 5000,
  joinWaitMs: 250,
  digestMs: 300_000,
  fullMembers: 1000,
  deltaMembers: 5000,
  kept: 1000,
  messageBytes: 262_144,
  silenceMs: 4000,
  heartbeatMs: 2000,
  countMs: 1000,
  sketch: 1024,
  othersNames: 1_000_000,
  othersSketches: 67_108_864,
};

export const QUIET: Log = { debug: noop, info: noop, warn: noop, error: noop };
function noop(): void {}

/** What a node of the simulation needs of a socket. */
export interface SimPort extends Connection {
  readonly topics: ReadonlySet<string>;
  readonly closedWith: number | undefined;
  peer: Peer | undefined;
  /** From a topic that the socket is subscribed to. */
  publish(data: string | Uint8Array): void;
}

/** A socket as the domain sees one: what is sent stands in `received` in the order of uWebSockets.js. */
export class SimSocket implements SimPort {
  readonly encoding: Encoding;
  readonly address = '127.0.0.1';
  readonly received: ServerFrame[] = [];
  /** The same, as the messages that they came in. */
  readonly messages: ServerFrame[][] = [];
  readonly topics = new Set<string>();
  closedWith: number | undefined;
  peer: Peer | undefined;
  /** Of all messages, as the wire has them. */
  bytes = 0;
  /** Bytes that the reader has not taken. Grows only while `slow`. */
  waiting = 0;
  slow = false;
  readonly #decode: (data: string | Uint8Array) => unknown;

  constructor(encoding: Encoding, decode: (data: string | Uint8Array) => unknown) {
    this.encoding = encoding;
    this.#decode = decode;
  }

  send(data: string | Uint8Array): boolean {
    if (this.closedWith !== undefined) return false;
    if (this.slow) this.waiting += data.length;
    this.bytes += Buffer.byteLength(data);
    const decoded = this.#decode(data);
    const message = Array.isArray(decoded) ? decoded : [decoded as ServerFrame];
    this.received.push(...message);
    this.messages.push(message);
    return true;
  }

  publish(data: string | Uint8Array): void {
    this.send(data);
  }

  buffered(): number {
    return this.waiting;
  }

  subscribe(topic: string): void {
    if (this.closedWith === undefined) this.topics.add(topic);
  }

  unsubscribe(topic: string): void {
    this.topics.delete(topic);
  }

  /** `reason` as the transport has it: of what this side ends. */
  end(code: number, reason?: string): void {
    if (this.closedWith !== undefined) return;
    this.closedWith = code;
    this.topics.clear();
    this.peer?.closed(code, reason);
  }

  /** The reader takes everything. */
  drain(): void {
    this.waiting = 0;
    if (this.closedWith === undefined) this.peer?.drained();
  }

  write(frame: object): void {
    this.peer?.receive(new TextEncoder().encode(JSON.stringify(frame)), false);
  }

  take(): ServerFrame[] {
    return this.received.splice(0);
  }
}

export interface SimOptions {
  readonly limits?: Partial<Limits>;
  /** The policy of every tenant. */
  readonly tenants?: PolicyOverride;
  readonly history?: { readonly count: number; readonly bytes: number; readonly ageMs: number };
  readonly bus?: (clock: Clock) => Bus;
  readonly cursors?: Cursors;
  /** Absent: the clock, which stands still within a turn. */
  readonly ticks?: () => number;
  readonly batching?: Partial<Batching>;
  /** `batchMs` of every room. */
  readonly roomBatchMs?: number;
  /** Instead of the node's own `now`. */
  readonly clock?: Clock;
  readonly rooms?: readonly RoomPolicy[];
  readonly verifier?: TokenVerifier;
  readonly log?: Log;
  readonly serverId?: string;
  /** Absent: there is no other node. */
  readonly cluster?: Cluster;
  readonly abuse?: Partial<AbuseSettings>;
  readonly presence?: Partial<PresenceSettings>;
  readonly explain?: Partial<FateSettings>;
}

/** A whole node without sockets, with a clock and a loop that the test turns by hand. */
export class SimNode {
  now = 1_700_000_000_000;
  readonly policies: Policies;
  readonly tenants: Tenants;
  readonly tally = new Tally();
  readonly sockets = new Set<SimPort>();
  readonly bus: Bus;
  /** To be started before anything can be revoked or banned. */
  readonly stores: MemoryCluster;
  readonly exclusions: Exclusions;
  readonly hub: Hub;
  #deferred: (() => void)[] = [];
  #timers: { readonly at: number; readonly task: () => void }[] = [];
  readonly #clock: Clock;
  readonly #serverId: string;
  #ids = 0;

  constructor(options: SimOptions = {}) {
    const clock: Clock = options.clock ?? { now: () => this.now };
    this.#clock = clock;
    this.#serverId = options.serverId ?? 'sim';
    this.policies = new Policies({ ...UNLIMITED, ...options.tenants });
    const limits: Limits = { ...LIMITS, ...options.limits };
    this.tenants = new Tenants(this.policies, limits.rates, clock);
    this.bus = options.bus?.(clock) ?? new MemoryBus({ limits, clock, epoch: 'e1', log: QUIET });
    const history = options.history ?? { count: 200, bytes: 4_194_304, ageMs: 600_000 };
    const batchMs = options.roomBatchMs ?? 0;
    this.stores = memoryCluster(clock, QUIET);
    this.exclusions = exclusionsOf(this.stores, clock, QUIET, options.abuse);
    this.hub = new Hub({
      node: {
        serverId: this.#serverId,
        region: 'test',
        version: '0',
        heartbeatSeconds: 24,
        reconnect: { minMs: 1, maxMs: 2 },
      },
      limits,
      tenants: this.tenants,
      policies: options.rooms ?? [
        { match: 'live:**', matches: compilePattern('live:**'), overflow: 'skip', batchMs },
        { match: '**', matches: compilePattern('**'), overflow: 'backfill', history, batchMs },
      ],
      bus: this.bus,
      cluster: options.cluster ?? alone(this.#serverId, clock),
      askMs: 500,
      explain: { ...EXPLAIN, ...options.explain },
      presence: { ...PRESENCE, ...options.presence },
      cursors: options.cursors ?? new MemoryCursors(limits.cursors),
      fanout: this.#fanout(),
      verifier: options.verifier ?? NO_TOKENS,
      clock,
      ticks: options.ticks ?? (() => clock.now()),
      batching: { batchMs: 0, batchEvents: 64, batchBytes: 49_152, ...options.batching },
      defer: (task) => this.defer(task),
      after: (ms, task) => void this.#timers.push({ at: clock.now() + ms, task }),
      tally: this.tally,
      log: options.log ?? QUIET,
      exclusions: this.exclusions,
      tickets: createTickets({ secrets: () => [new Uint8Array(32)], ttlSeconds: 180 }, clock),
      newId: () => `${this.#serverId}-${++this.#ids}`,
    });
  }

  /** Everybody is sent away, in this moment. */
  drain(): void {
    const plan = {
      deadlineMs: 1000,
      windowMs: 100,
      perSecond: 1_000_000,
      loopLagMs: 50,
      awayMs: 1000,
      roundMs: 100,
    };
    this.hub.drain(
      { ...plan, reason: 'test' },
      () => 0,
      () => undefined,
    );
    this.pass(0);
  }

  connect(user: string, overrides: Partial<Identity> = {}, ticket?: string): SimSocket {
    const socket = new SimSocket('json', (data) => JSON.parse(data as string));
    const identity: Identity = {
      user,
      tenant: 'default',
      rooms: [{ match: '**', allow: ['join', 'pub', 'presence', 'history'] }],
      ...overrides,
    };
    const verdict = ticket === undefined ? undefined : this.hub.openTicket(ticket);
    if (verdict?.ok === false) throw new Error(verdict.reason);
    this.attach(socket, verdict?.identity ?? identity, verdict?.resumes);
    return socket;
  }

  attach(socket: SimPort, identity: Identity, resumes?: Resumption): void {
    for (const known of this.sockets) if (known.closedWith !== undefined) this.sockets.delete(known);
    this.sockets.add(socket);
    // What the gate would give: these tests are about what comes after it.
    socket.peer = this.hub.connect(socket, identity as PassedIdentity, resumes);
  }

  /** Ends this turn of the loop: runs what was deferred, not what that defers. */
  turn(): void {
    const tasks = this.#deferred;
    this.#deferred = [];
    for (const task of tasks) task();
  }

  defer(task: () => void): void {
    this.#deferred.push(task);
  }

  /** What was to happen by now happens; for nodes with a clock that is not their own. */
  fire(): void {
    const due = this.#timers.filter(({ at }) => at <= this.#clock.now());
    this.#timers = this.#timers.filter(({ at }) => at > this.#clock.now());
    for (const { task } of due) task();
  }

  /** The clock goes on, and what was to happen by then happens, in order. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const next = this.#timers.reduce<number>(
        (least, { at }) => Math.min(least, at),
        Number.POSITIVE_INFINITY,
      );
      if (next > until) break;
      this.now = next;
      const due = this.#timers.filter(({ at }) => at <= next);
      this.#timers = this.#timers.filter(({ at }) => at > next);
      for (const { task } of due) task();
    }
    this.now = until;
  }

  /** Something happens yet without anybody doing anything. */
  get busy(): boolean {
    return this.#deferred.length + this.#timers.length > 0;
  }

  settle(): void {
    for (let turns = 0; this.busy; turns++) {
      if (turns > 10_000) throw new Error('the node never comes to rest');
      if (this.#deferred.length === 0) this.pass(1);
      this.turn();
    }
  }

  #fanout(): Fanout {
    const send = (topic: string, data: string | Uint8Array, skip?: Connection) => {
      for (const socket of this.sockets)
        if (socket !== skip && socket.topics.has(topic)) socket.publish(data);
    };
    return {
      publish: (topic, data) => send(topic, data),
      publishExcept: (skip, topic, data) => send(topic, data, skip),
    };
  }
}

function alone(node: string, clock: Clock): Cluster {
  return new MemoryCluster({
    node,
    incarnation: node,
    status: () => ({ connections: 0, acceptsPerSecond: 0, loopLagMs: 0, draining: false }),
    settings: {
      heartbeatMs: 2000,
      missed: 3,
      messageBytes: 262_144,
      leaseMs: 10_000,
      askMs: 500,
      skewMs: 1000,
      skewWarnMs: 1000,
    },
    limits: { entries: 1000, bytes: 1_048_576, valueBytes: 65_536 },
    clock,
    log: QUIET,
  });
}

const NO_TOKENS: TokenVerifier = {
  known: () => ({ ok: false, code: 'unauthorized', reason: 'no tokens here' }),
  verify: async () => ({ ok: false, code: 'unauthorized', reason: 'no tokens here' }),
};
