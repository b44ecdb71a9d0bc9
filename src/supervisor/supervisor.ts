/** Several broker processes on one port, and one admin listener for all of them. */
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import type { Logger } from 'pino';
import { nowMs } from '../app/time.ts';
import { problem, type WebAnswer, type WebRequest } from '../broker/web.ts';
import { type Address, type Config, showAddress } from '../config.ts';
import { type Admin, createAdmin } from '../ops/admin.ts';
import type { Verdict } from '../ops/health.ts';
import { Backoff } from './backoff.ts';
import { judgeWorkers } from './health.ts';
import { MergedMetrics } from './merge.ts';
import type { Leaving, PlainRequest } from './messages.ts';
import { createSupervisorMetrics, type SupervisorMetrics } from './metrics.ts';
import { type Program, spawnWorker } from './spawn.ts';
import { type EndCause, Worker } from './worker.ts';

export interface SupervisorParts {
  readonly config: Config;
  readonly workers: number;
  /** The key of the development mode; undefined: there are others. */
  readonly development: Uint8Array | undefined;
  readonly program: Program;
  readonly log: Logger;
}

export interface Addresses {
  readonly listen: string;
  readonly admin: string;
}

const TICK_MS = 1000;
/** A worker that is slower is scraped and asked without. */
const METRICS_MS = 2000;
const WEB_MS = 10_000;
/** Headers that the admin API looks at. */
const FORWARDED = ['authorization', 'content-type', 'traceparent'];

export class Supervisor {
  readonly #parts: SupervisorParts;
  readonly #workers: readonly Worker[];
  readonly #merged = new MergedMetrics();
  readonly #metrics: SupervisorMetrics;
  readonly #admin: Admin;
  readonly #ends: Record<EndCause, number> = { exit: 0, signal: 0, stuck: 0 };
  readonly #serverId: string;
  #unanswered = 0;
  #listen: string | undefined;
  #port: number;
  #phase: 'starting' | 'serving' | 'draining' = 'starting';
  #ticking: NodeJS.Timeout | undefined;
  /** Whoever waits for something that workers do. */
  #changed: () => void = () => undefined;

  constructor(parts: SupervisorParts) {
    const { config, workers, log } = parts;
    this.#parts = parts;
    this.#port = config.listen.port;
    this.#serverId = config.node.serverId ?? randomBytes(6).toString('base64url');
    this.#workers = Array.from({ length: workers }, (_, at) => this.#worker(at + 1));
    this.#metrics = createSupervisorMetrics({
      version: config.node.version,
      states: () => this.#states(),
      ends: this.#ends,
      unanswered: () => this.#unanswered,
    });
    this.#admin = createAdmin({
      ...config.admin.listen,
      readiness: () => this.#readiness(),
      metrics: { contentType: this.#metrics.contentType, text: () => this.#scrape() },
      log,
      web: (request) => this.#forward(request),
    });
  }

  /** Resolves when every worker listens. Rejects where the first one cannot: it would be so with all. */
  async start(): Promise<Addresses> {
    await refuseTaken(this.#parts.config.listen);
    const { host, port } = await this.#admin.listen();
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
    const [first, ...others] = this.#workers;
    first?.start();
    await this.#until(() => this.#listen !== undefined || first?.view.state === 'restarting');
    if (this.#listen === undefined) throw new Error('the first worker has ended before it listened');
    // One at a time they would take the sum of their starts.
    for (const worker of others) worker.start();
    await this.#until(() => this.#workers.every(({ view }) => view.state !== 'starting'));
    this.#phase = this.#phase === 'starting' ? 'serving' : this.#phase;
    return { listen: this.#listen, admin: showAddress({ host, port }) };
  }

  /** Every worker sends its clients away and ends. true: all of them as asked. */
  async stop(fast: boolean): Promise<boolean> {
    this.#leave();
    for (const worker of this.#workers) worker.stop(fast);
    await this.#until(() => this.#workers.every(({ running }) => !running));
    clearInterval(this.#ticking);
    await this.#admin.close();
    this.#metrics.close();
    return this.#workers.every(({ clean }) => clean);
  }

  /** At once. */
  kill(): void {
    for (const worker of this.#workers) worker.kill();
  }

  #worker(number: number): Worker {
    const { config, development, log } = this.#parts;
    return new Worker({
      number,
      spawn: () => spawnWorker(this.#parts.program, number),
      begin: () => ({
        type: 'begin',
        number,
        nodes: this.#workers.map((one) => `${this.#serverId}-w${one.number}`),
        port: this.#port,
        development,
      }),
      backoff: new Backoff(config.supervisor, Math.random),
      stuckMs: config.supervisor.stuckMs,
      nowMs,
      log,
      listening: (listen, pid) => this.#listening(number, listen, pid),
      leaving: (leaving) => this.#drain(leaving),
      ended: (cause, code) => this.#ended(number, cause, code),
    });
  }

  #listening(worker: number, listen: string, pid: number | undefined): void {
    this.#listen ??= listen;
    this.#port = Number(listen.slice(listen.lastIndexOf(':') + 1));
    this.#parts.log.info({ worker, pid }, 'a worker listens');
    this.#changed();
  }

  /** All of them drain: one that were started again would take clients. */
  #leave(): void {
    this.#phase = 'draining';
    for (const worker of this.#workers) worker.retire();
  }

  #drain(leaving: Leaving): void {
    this.#leave();
    for (const worker of this.#workers) worker.drain(leaving);
  }

  #ended(worker: number, cause: EndCause, code: number | null): void {
    // With 0 it ends as somebody has asked it to: it was sent SIGTERM.
    if (this.#phase !== 'draining' && code !== 0) this.#ends[cause]++;
    this.#merged
      .ended(worker)
      .catch((error: unknown) => this.#parts.log.error({ err: error }, 'metrics of a worker are lost'));
    this.#changed();
  }

  #until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = () => {
        if (holds()) resolve();
      };
      this.#changed();
    });
  }

  #tick(): void {
    for (const worker of this.#workers) worker.tick();
  }

  #readiness(): Verdict {
    const views = this.#workers.map(({ view }) => view);
    return judgeWorkers(views, this.#phase === 'draining', this.#phase !== 'starting');
  }

  #states(): Record<'ready' | 'starting' | 'restarting', number> {
    const states = { ready: 0, starting: 0, restarting: 0 };
    for (const { view } of this.#workers)
      if (view.state !== 'ended') states[view.state === 'serving' ? 'ready' : view.state]++;
    return states;
  }

  async #scrape(): Promise<string> {
    const running = this.#workers.filter(({ running }) => running);
    await Promise.all(
      running.map(async (worker) => {
        const readings = await worker.ask('metrics', null, METRICS_MS);
        if (readings === undefined) this.#unanswered++;
        else if (worker.running) this.#merged.scraped(worker.number, readings);
      }),
    );
    return this.#merged.text(await this.#metrics.readings());
  }

  /** Any worker answers for all: it asks the others. */
  async #forward(request: WebRequest): Promise<WebAnswer | undefined> {
    const worker = this.#workers.find(({ running, view }) => running && view.readiness?.status === 'ready');
    const answering = worker ?? this.#workers.find(({ view }) => view.state === 'serving');
    const plain = await plainRequest(request, this.#parts.config.api.bodyBytes);
    const answer = await answering?.ask('web', plain, WEB_MS);
    return answer === undefined ? NO_WORKER : (answer ?? undefined);
  }
}

const NO_WORKER = problem(503, 'unavailable', 'no worker answers', { 'Retry-After': '1' });

async function plainRequest(request: WebRequest, bodyBytes: number): Promise<PlainRequest> {
  const { method, path, address } = request;
  const headers = Object.fromEntries(FORWARDED.map((name) => [name, request.header(name)]));
  return { method, path, queries: request.queries(), headers, address, body: await request.body(bodyBytes) };
}

/** Workers share the port with whoever wants to: an older broker, forgotten, would take its share in silence. */
function refuseTaken({ host, port }: Address): Promise<void> {
  if (port === 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', () =>
      reject(new Error(`cannot listen on ${host}:${port}: the address is in use or not of this machine`)),
    );
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()));
  });
}
