import { hkdfSync, randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { type DevelopmentWeb, webHandler } from './api/web.ts';
import { createTickets } from './auth/tickets.ts';
import { createVerifier } from './auth/verifier.ts';
import type { Cluster, NodeStatus } from './broker/cluster.ts';
import { Hub } from './broker/hub.ts';
import { Policies } from './broker/limits/policy.ts';
import { SharedLimits } from './broker/limits/shared.ts';
import { Tenants } from './broker/limits/tenants.ts';
import type { After, Bus, Clock, Cursors, TokenVerifier } from './broker/ports.ts';
import type { NodeIdentity } from './broker/settings.ts';
import { Tally } from './broker/tally.ts';
import { MemoryBus } from './bus/memory/bus.ts';
import { MemoryCluster } from './bus/memory/cluster.ts';
import { MemoryCursors } from './bus/memory/cursors.ts';
import { applyStreams } from './bus/nats/apply.ts';
import { NatsBus } from './bus/nats/bus.ts';
import { NatsCluster } from './bus/nats/cluster/cluster.ts';
import { type Config, parsePolicy } from './config.ts';
import { createAdmin } from './ops/admin.ts';
import { judge, type Phase } from './ops/health.ts';
import { RecentLag } from './ops/loop.ts';
import { createMetrics } from './ops/metrics.ts';
import { Rate } from './ops/rate.ts';
import { Transport } from './transport/server.ts';

export interface App {
  /** Resolves with both real addresses as `host:port`. Rejects when one cannot be listened on. */
  listen(): Promise<{ readonly listen: string; readonly admin: string }>;
  /** Sends every client away in a slot of its own; resolves when all are gone or the deadline has come. */
  drain(options: { readonly fast: boolean; readonly reason: string }): Promise<void>;
  /** Ends what is left. */
  close(): Promise<void>;
}

/** A drain that a person waits for. */
const FAST_DRAIN_MS = 300;
/** Time for the last close frames to leave the socket buffers. */
const LINGER_MS = 50;
/** How soon a tenant whose share of its limits is used up gets more of them. */
const LEASES_MS = 250;
const GIVE_BACK_MS = 500;

const clock: Clock = { now: Date.now };
const later: After = (ms, task) => void setTimeout(task, ms);

/** Builds every part of a node and joins them; nothing runs before `listen`. */
export async function createApp(config: Config, log: Logger, development?: DevelopmentWeb): Promise<App> {
  const tally = new Tally();
  const verifier = createVerifier(config.auth, { clock, log, counts: tally.identity });
  const accepts = new Rate(() => performance.now());
  const lag = new RecentLag(() => performance.now());
  let phase: Phase = 'starting';
  const serverId = config.node.serverId ?? randomBytes(6).toString('base64url');
  const status = () => statusOf(tally, accepts, lag, phase);
  const { bus, cursors, cluster } = createBus(config, log, serverId, status);
  const transport = createTransport(config, log, tally, verifier, development);
  const { tenants, ...sharing } = createLimits(config, log, cluster);
  const hub = createHub(config, log, serverId, tally, verifier, { bus, cursors, tenants }, transport);
  const metrics = createMetrics({ tally, bus, cluster, version: config.node.version });
  const admin = createAdmin({
    ...config.admin.listen,
    readiness: () =>
      judge({ phase, loopLagMs: lag.p99Ms(), loopLagLimitMs: config.readiness.loopLagMs, bus: bus.health() }),
    metrics,
    log,
  });
  let ticking: NodeJS.Timeout | undefined;
  return {
    listen: async () => {
      const { host, port } = await admin.listen(); // First: probes are answered while the bus is being reached.
      await Promise.all([bus.start().then(() => cluster.start()), verifier.start()]);
      sharing.begin();
      const listen = await transport.listen(...doorsOf(hub));
      ticking = setInterval(() => everySecond(hub, transport, lag), 1000);
      phase = 'serving';
      return { listen, admin: `${host.includes(':') ? `[${host}]` : host}:${port}` };
    },
    drain: async ({ fast, reason }) => {
      phase = 'draining';
      cluster.announce();
      transport.stopAccepting();
      await sendAway(hub, bus, config.drain, fast, reason);
    },
    close: async () => {
      clearInterval(ticking);
      transport.close();
      verifier.close();
      await sharing.end();
      await cluster.close(); // First: its goodbye goes over the connection of the bus.
      await Promise.all([admin.close(), bus.close()]);
      metrics.close();
      lag.close();
    },
  };
}

function statusOf(tally: Tally, accepts: Rate, lag: RecentLag, phase: Phase): NodeStatus {
  return {
    connections: tally.connections,
    acceptsPerSecond: Math.round(accepts.of(tally.upgrades.get('accepted') ?? 0)),
    loopLagMs: Math.round(lag.p99Ms()),
    draining: phase === 'draining',
  };
}

/** What the transport asks of the hub, in the order of its arguments. */
function doorsOf(hub: Hub): Required<Parameters<Transport['listen']>> {
  return [
    (connection, identity, resumes) => hub.connect(connection, identity, resumes),
    (ticket) => hub.openTicket(ticket),
    (identity, resumes) => hub.admit(identity, resumes),
  ];
}

function everySecond(hub: Hub, transport: Transport, lag: RecentLag): void {
  hub.tick();
  transport.observeLag(lag.p99Ms());
}

async function sendAway(
  hub: Hub,
  bus: Bus,
  drain: Config['drain'],
  fast: boolean,
  reason: string,
): Promise<void> {
  const windowMs = fast ? Math.min(FAST_DRAIN_MS, drain.windowMs) : drain.windowMs;
  const deadline = after(drain.deadlineMs);
  const sentAway = new Promise<void>((done) => {
    const plan = { windowMs, perSecond: drain.perSecond, reason };
    hub.drain(plan, Math.random, later, done);
  });
  await Promise.race([sentAway.then(() => bus.drain(drain.deadlineMs)), deadline.reached]);
  deadline.cancel();
  await after(LINGER_MS).reached;
}

/** Creates and updates the streams that the settings ask for: `carillon streams apply`. Throws with the reason. */
export async function provisionStreams(config: Config, log: Logger) {
  if (config.nats === undefined)
    throw new Error('the settings have no nats section: the embedded bus has no streams');
  return applyStreams({
    options: config.nats,
    policies: config.rooms,
    limits: config.limits,
    state: config.state,
    log,
  });
}

interface Stores {
  readonly bus: Bus;
  readonly cursors: Cursors;
}

function createBus(
  config: Config,
  log: Logger,
  node: string,
  status: () => NodeStatus,
): Stores & { readonly cluster: Cluster } {
  const incarnation = randomBytes(9).toString('hex');
  const common = { node, incarnation, status, settings: config.cluster, limits: config.state, clock, log };
  if (config.nats !== undefined) {
    const options = config.nats;
    const bus = new NatsBus({
      options,
      policies: config.rooms,
      limits: config.limits,
      node: incarnation,
      clock,
      log,
    });
    const cluster = new NatsCluster({ ...common, options, link: () => bus.link() });
    return { bus, cursors: bus.cursors, cluster };
  }
  const epoch = randomBytes(9).toString('base64url');
  return {
    bus: new MemoryBus({ limits: config.limits, clock, epoch, log }),
    cursors: new MemoryCursors(config.limits.cursors),
    cluster: new MemoryCluster({ ...common, dir: config.state.dir }),
  };
}

function createTransport(
  config: Config,
  log: Logger,
  tally: Tally,
  verifier: TokenVerifier,
  development: DevelopmentWeb | undefined,
): Transport {
  return new Transport({
    ...config.listen,
    policy: {
      origins: config.origins,
      missingOrigin: config.missingOrigin,
      allowQueryToken: config.auth.allowQueryToken,
    },
    proxyHops: config.trustedProxies,
    idleSeconds: config.heartbeat.idleSeconds,
    compression: config.compression,
    limits: config.limits,
    verifier,
    tally,
    log,
    defer: setImmediate,
    nowMs: () => performance.now(),
    web: webHandler({ page: config.page.enabled, development }),
  });
}

/** Tenants and their limits; `begin` when the cluster has started, `end` before it is closed. */
function createLimits(config: Config, log: Logger, cluster: Cluster) {
  const policies = new Policies(config.tenants.default, config.tenants.named);
  const tenants = new Tenants(policies, config.limits.rates, clock);
  const shared = new SharedLimits({
    cluster,
    tenants,
    parse: parsePolicy,
    times: config.cluster,
    clock,
    log,
  });
  let ticking: NodeJS.Timeout | undefined;
  return {
    tenants,
    begin: () => {
      shared.start();
      ticking = setInterval(() => shared.tick(), LEASES_MS);
    },
    end: async () => {
      clearInterval(ticking);
      // What is not given back in time is free when the lease is over.
      await Promise.race([shared.close(), after(GIVE_BACK_MS).reached]);
    },
  };
}

function createHub(
  config: Config,
  log: Logger,
  serverId: string,
  tally: Tally,
  verifier: TokenVerifier,
  stores: Stores & { readonly tenants: Tenants },
  transport: Transport,
): Hub {
  const node: NodeIdentity = { ...config.node, serverId };
  return new Hub({
    node,
    limits: config.limits,
    policies: config.rooms,
    ...stores,
    fanout: transport,
    verifier,
    clock,
    ticks: () => performance.now(),
    batching: config.delivery,
    defer: setImmediate,
    after: later,
    tally,
    log,
    tickets: createTickets({ secrets: ticketSecrets(config), ttlSeconds: config.tickets.ttlSeconds }, clock),
    newId: () => randomBytes(16).toString('base64url'),
  });
}

/**
 * Nodes that share a token secret share this one without being told: made from it, it says nothing about it. With
 * neither, tickets are good on this node only, until it restarts.
 */
function ticketSecrets(config: Config): Uint8Array[] {
  const { secrets } = config.tickets;
  if (secrets.length > 0) return secrets.map((secret) => new TextEncoder().encode(secret));
  const shared = config.auth.keys.find((key) => key.secret !== undefined)?.secret;
  if (shared === undefined) return [randomBytes(32)];
  return [new Uint8Array(hkdfSync('sha256', shared, '', 'carillon tickets', 32))];
}

function after(ms: number): { readonly reached: Promise<void>; cancel(): void } {
  let timer: NodeJS.Timeout | undefined;
  const reached = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return { reached, cancel: () => clearTimeout(timer) };
}
