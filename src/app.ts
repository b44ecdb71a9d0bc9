import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { Api } from './api/api.ts';
import { type DevelopmentWeb, webHandler } from './api/web.ts';
import { createAgreement } from './app/agreement.ts';
import { createNodeApi } from './app/api.ts';
import { createBus } from './app/bus.ts';
import { Certificates } from './app/certificates.ts';
import { type DrainOptions, NodeDrain } from './app/drain.ts';
import { createExclusions } from './app/exclusions.ts';
import { createHub, createTransport } from './app/hub.ts';
import { createRecord, type RecordOfSessions } from './app/lifecycle.ts';
import { createLimits, type LimitsOfTenants } from './app/limits.ts';
import { Pulse } from './app/pulse.ts';
import { createTicketSecrets, type TicketSecrets } from './app/tickets.ts';
import { alarm, clock, nowMs } from './app/time.ts';
import { createTracing, type TracesOfNode } from './app/tracing.ts';
import { createUsage, type UsageOfTenants } from './app/usage.ts';
import { createVerifier } from './auth/verifier.ts';
import { NodeAdmin, type NodeOperations } from './broker/admin/node.ts';
import type { Cluster, NodeStatus } from './broker/cluster.ts';
import type { Exclusions } from './broker/exclusion/exclusions.ts';
import type { Hub } from './broker/hub.ts';
import type { Bus } from './broker/ports.ts';
import type { SettingsAgreement } from './broker/settings-agreement.ts';
import { Tally } from './broker/tally.ts';
import { withNotice } from './broker/wait-notice.ts';
import type { WebHandler } from './broker/web.ts';
import type { Config } from './config.ts';
import { type Admin, type AdminOptions, createAdmin } from './ops/admin.ts';
import { redacted } from './ops/diagnostics.ts';
import { judge, type Phase, type Readiness, statusOf, type Vitals } from './ops/health.ts';
import { TenantLevels } from './ops/levels.ts';
import { recentProblems } from './ops/log.ts';
import { RecentLag } from './ops/loop.ts';
import { createMetrics, type Metrics } from './ops/metrics.ts';
import { processSummary } from './ops/process.ts';
import type { Transport } from './transport/server.ts';

export { provisionStreams } from './app/bus.ts';

export interface App {
  /** Resolves with both real addresses as `host:port`. Rejects when one cannot be listened on. */
  listen(): Promise<{ readonly listen: string; readonly admin: string }>;
  /** Sends every client away in a slot of its own; resolves when all are gone or the deadline has come. */
  drain(options: DrainOptions): Promise<void>;
  /** The same, and the process goes on without clients; false: it drains already. */
  beginDrain(reason: string, deadlineMs: number | undefined): boolean;
  /** Ends what is left. */
  close(): Promise<void>;
}

/** Builds every part of a node and joins them; nothing runs before `listen`. */
export async function createApp(
  config: Config,
  log: Logger,
  development?: DevelopmentWeb,
  seat?: Seat,
): Promise<App> {
  const serverId = config.node.serverId ?? randomBytes(6).toString('base64url');
  const traces = await createTracing(config, serverId, log);
  return new Node({ config, log, serverId, traces, development, seat });
}

export interface NodeAdminOptions extends AdminOptions {
  readonly readiness: () => Readiness;
  readonly metrics: Metrics;
}

/** Where this process is a worker: what its supervisor does in its place, and gives to it. */
export interface Seat {
  readonly admin: (options: NodeAdminOptions) => Admin;
  /** Names of all workers of the machine. */
  readonly nodes: readonly string[];
  /** All of them are to drain. */
  readonly leaving: (leaving: { readonly reason: string; readonly deadlineMs: number | undefined }) => void;
}

interface NodeParts {
  readonly config: Config;
  readonly log: Logger;
  readonly serverId: string;
  readonly traces: TracesOfNode | undefined;
  readonly development: DevelopmentWeb | undefined;
  readonly seat: Seat | undefined;
}

class Node implements App {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #seat: Seat | undefined;
  readonly #levels: TenantLevels;
  readonly #traces: TracesOfNode | undefined;
  readonly #tally = new Tally();
  readonly #lag = new RecentLag(nowMs);
  readonly #pulse: Pulse;
  readonly #verifier: ReturnType<typeof createVerifier>;
  readonly #bus: Bus;
  readonly #cluster: Cluster;
  readonly #agreement: SettingsAgreement;
  readonly #transport: Transport;
  readonly #certificates: Certificates | undefined;
  readonly #limits: LimitsOfTenants;
  readonly #usage: UsageOfTenants;
  readonly #tickets: TicketSecrets;
  readonly #record: RecordOfSessions;
  readonly #hub: Hub;
  readonly #drain: NodeDrain;
  readonly #api: Api;
  readonly #nodeAdmin: NodeAdmin;
  readonly #metrics: Metrics;
  readonly #admin: Admin;
  #phase: Phase = 'starting';
  #ticking: NodeJS.Timeout | undefined;

  constructor({ config, log, serverId, traces, development, seat }: NodeParts) {
    this.#config = config;
    this.#log = log;
    this.#seat = seat;
    this.#traces = traces;
    this.#levels = new TenantLevels(log);
    const tally = this.#tally;
    this.#pulse = new Pulse(config.cluster.heartbeatMs);
    const verifier = createVerifier(config.auth, { clock, log, counts: tally.identity });
    const status = () => this.#status();
    const openRooms = (tenant: string) => this.#limits.tenants.policies.of(tenant).openRooms;
    const around = { node: serverId, status, openRooms };
    const { bus, cursors, cluster, usage } = createBus(config, log, around);
    const api: WebHandler = (request) => this.#api.server(request);
    const ready = () => statusOf(this.#vitals()) === 'ready';
    const web = webHandler({ page: config.page.enabled, development, api, ready });
    this.#verifier = verifier;
    this.#bus = bus;
    this.#cluster = cluster;
    this.#agreement = createAgreement(config, cluster, log);
    const exclusions = createExclusions(config, log, cluster);
    this.#certificates =
      config.tls && new Certificates(config.tls, log, () => this.#transport.renewCertificates());
    this.#transport = createTransport(config, log, tally, web, seat !== undefined);
    this.#limits = createLimits(config, log, cluster);
    this.#usage = createUsage(config, log, cluster, this.#limits.tenants, usage);
    this.#tickets = createTicketSecrets(config, cluster, log);
    this.#record = createRecord({ config, log, bus, cluster });
    this.#hub = createHub(config, {
      serverId,
      record: this.#record,
      bus,
      cursors,
      cluster,
      tenants: this.#limits.tenants,
      ticketSecrets: this.#tickets.secrets,
      exclusions,
      fanout: this.#transport,
      verifier,
      tally,
      log: this.#levels,
      tracing: traces?.tracing,
    });
    this.#drain = new NodeDrain({ config, hub: this.#hub, bus, log, begun: () => this.#leave() });
    this.#api = this.#createApi(exclusions);
    this.#nodeAdmin = new NodeAdmin(cluster, this.#hub.view, this.#operations());
    this.#metrics = this.#createMetrics();
    this.#admin = this.#createAdmin(seat?.admin ?? createAdmin);
  }

  #createApi(exclusions: Exclusions): Api {
    const cluster = this.#cluster;
    const machine = this.#seat?.nodes ?? [cluster.node];
    const needs = {
      cluster,
      machine,
      exclusions,
      usage: this.#usage.book,
      gate: this.#hub.gate,
      log: this.#log,
    };
    return createNodeApi(this.#config, this.#hub.view, needs);
  }

  #createMetrics(): Metrics {
    return createMetrics({
      tally: this.#tally,
      bus: this.#bus,
      cluster: this.#cluster,
      agreement: this.#agreement,
      usage: this.#usage.book,
      api: this.#api,
      tls: this.#certificates,
      lifecycle: this.#record.figures,
      drain: this.#drain,
      traces: this.#traces?.counts,
      version: this.#config.node.version,
    });
  }

  #createAdmin(create: (options: NodeAdminOptions) => Admin): Admin {
    return create({
      ...this.#config.admin.listen,
      readiness: () => this.#readiness(),
      metrics: this.#metrics,
      log: this.#log,
      web: this.#api.admin,
    });
  }

  async listen(): Promise<{ readonly listen: string; readonly admin: string }> {
    // First: probes are answered while the bus is being reached.
    const { host, port } = await this.#admin.listen();
    await Promise.all([
      this.#bus
        .start()
        .then(() => this.#cluster.start())
        .then(() => this.#agreed()),
      this.#waited('the keys of the issuers', () => this.#verifier.start()),
    ]);
    await Promise.all([
      this.#waited('the usage of tenants', () => this.#usage.begin()),
      this.#waited('a key for tickets', () => this.#tickets.start()),
      this.#waited('the record of sessions', () => this.#record.start()),
    ]);
    this.#limits.begin();
    // Before the first client: a run that is not entered has no heirs.
    this.#hub.tick();
    const listen = await this.#transport.listen(
      (connection, identity, resumes) => this.#hub.connect(connection, identity, resumes),
      this.#hub.gate,
      (identity, resumes, elsewhere) => this.#hub.admit(identity, resumes, elsewhere),
      (identity, resumes) => this.#hub.inquire(identity, resumes),
      (identity, ms) => this.#hub.awaitPlace(identity, ms),
    );
    this.#certificates?.start();
    this.#ticking = setInterval(() => {
      this.#hub.tick();
      this.#tickets.tick();
      this.#usage.book.tick();
      this.#nodeAdmin.tick();
      this.#agreement.tick();
      this.#transport.observeLag(this.#lag.p99Ms());
    }, 1000);
    this.#phase = 'serving';
    return { listen, admin: `${host.includes(':') ? `[${host}]` : host}:${port}` };
  }

  async #agreed(): Promise<void> {
    const why = () => this.#agreement.conflict;
    const fix = 'give all nodes the same settings, or end the others: docs/operations/upgrades.md, Settings';
    const wait = { what: 'nodes with other settings to leave', why, fix };
    await withNotice(wait, { log: this.#log, alarm }, () => this.#agreement.settled());
  }

  /** Bus and cluster know best why they wait, and say so themselves. */
  #waited<T>(what: string, task: () => Promise<T>): Promise<T> {
    const why = () => this.#bus.health().detail || undefined;
    return withNotice({ what, why }, { log: this.#log, alarm }, task);
  }

  drain(options: DrainOptions): Promise<void> {
    return this.#drain.begin(options);
  }

  beginDrain(reason: string, deadlineMs: number | undefined): boolean {
    if (this.#drain.begun) return false;
    this.drain({ fast: false, reason, deadlineMs }).catch((error: unknown) =>
      this.#log.error({ err: error }, 'the drain has failed'),
    );
    return true;
  }

  /** Nobody new is let in, and whoever asks is told so. */
  #leave(): void {
    this.#phase = 'draining';
    this.#cluster.announce();
    this.#transport.stopAccepting();
  }

  async close(): Promise<void> {
    clearInterval(this.#ticking);
    this.#certificates?.close();
    this.#transport.close();
    this.#verifier.close();
    this.#nodeAdmin.close();
    this.#agreement.close();
    await this.#hub.close();
    await Promise.all([this.#record.close(), this.#usage.end(), this.#limits.end()]);
    // Before the bus: its goodbye goes over the same connection.
    await this.#cluster.close();
    await Promise.all([this.#admin.close(), this.#bus.close(), this.#traces?.close()]);
    this.#metrics.close();
    this.#lag.close();
    this.#pulse.close();
  }

  #operations(): NodeOperations {
    return {
      drain: (reason, deadlineMs, machine) => {
        if (machine) this.#seat?.leaving({ reason, deadlineMs });
        return this.beginDrain(reason, deadlineMs);
      },
      drainProgress: () => ({ node: this.#cluster.node, ...this.#drain.progress }),
      setLogLevel: (level, tenant) => this.#setLogLevel(level, tenant),
      differences: () => this.#agreement.differences,
      diagnostics: () => this.#diagnostics(),
      keys: async (refresh) => {
        if (refresh) await this.#verifier.refreshKeys();
        return { node: this.#cluster.node, issuers: this.#verifier.keys() };
      },
    };
  }

  #setLogLevel(level: string, tenant: string | undefined): void {
    const byDefault = level === 'default';
    if (tenant !== undefined) this.#levels.set(tenant, byDefault ? undefined : level);
    else this.#log.level = byDefault ? this.#config.log.level : level;
  }

  #diagnostics(): object {
    return {
      node: this.#cluster.node,
      version: this.#config.node.version,
      process: processSummary(),
      phase: this.#phase,
      readiness: this.#readiness(),
      bus: this.#bus.health(),
      cluster: { nodes: this.#cluster.nodes(), figures: this.#cluster.figures() },
      settings: redacted(this.#config),
      problems: recentProblems(),
    };
  }

  #readiness(): Readiness {
    return judge({ ...this.#vitals(), bus: this.#bus.health() });
  }

  #vitals(): Omit<Vitals, 'bus'> {
    return {
      phase: this.#phase,
      loopLagMs: this.#lag.p99Ms(),
      loopLagLimitMs: this.#config.readiness.loopLagMs,
      settings: this.#agreement,
    };
  }

  #status(): NodeStatus {
    const { connections, upgrades } = this.#tally;
    const { drain, limits } = this.#config;
    return {
      connections,
      ...this.#pulse.read(upgrades.get('accepted') ?? 0),
      acceptsMax: drain.perSecond,
      spare: Math.max(0, limits.connections - connections),
      draining: this.#phase === 'draining',
      ...this.#agreement.status,
    };
  }
}
