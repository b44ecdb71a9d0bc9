import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ServerSetup {
  readonly binary: string;
  readonly name: string;
  /** Holds the config and the store; stays through restarts. */
  readonly dir: string;
  readonly port: number;
  readonly monitorPort: number;
  /** The cluster part of the config, if any. */
  readonly cluster?: string;
  /** More config text: accounts, TLS, … */
  readonly extra?: string;
  readonly jetstream?: boolean;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** One nats-server process, which can be hurt in every way that a test needs. */
export class NatsServer {
  readonly name: string;
  readonly url: string;
  readonly #setup: ServerSetup;
  #child: ChildProcess | undefined;
  #watchdog: ChildProcess | undefined;
  #log = '';

  constructor(setup: ServerSetup) {
    this.#setup = setup;
    this.name = setup.name;
    this.url = `nats://127.0.0.1:${setup.port}`;
  }

  /** Its config and store. */
  get dir(): string {
    return this.#setup.dir;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** What it has written since its last start. */
  get log(): string {
    return this.#log;
  }

  /** Starts the process; `ready` says when it can be used. */
  async start(): Promise<void> {
    if (this.#child !== undefined) throw new Error(`${this.name} runs already`);
    await mkdir(this.#setup.dir, { recursive: true });
    const file = join(this.#setup.dir, 'server.conf');
    await writeFile(file, this.#config());
    this.#log = '';
    const child = spawn(this.#setup.binary, ['-c', file], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (text: Buffer) => this.#noted(text));
    child.stderr.on('data', (text: Buffer) => this.#noted(text));
    running.add(child);
    this.#child = child;
    child.once('exit', () => this.#ended(child));
    await Promise.race([once(child, 'spawn'), once(child, 'error').then(([error]) => Promise.reject(error))]);
    this.#watchdog = watch(child, this.#setup.dir);
  }

  /** Until it serves, with JetStream where it has it. Throws with the log's end after `ms`. */
  async ready(ms = 15_000): Promise<void> {
    const until = Date.now() + ms;
    while (Date.now() < until) {
      if (this.#child === undefined) throw new Error(`${this.name} ended:\n${this.#log.slice(-2000)}`);
      if (await this.#healthy()) return;
      await sleep(50);
    }
    throw new Error(`${this.name} is not ready after ${ms} ms:\n${this.#log.slice(-2000)}`);
  }

  stop(): Promise<void> {
    return this.#end('SIGTERM');
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Clients are told to go elsewhere, then it ends. */
  lameDuck(): void {
    this.#child?.kill('SIGUSR2');
  }

  /** A page of the monitoring port as JSON. */
  async monitor(path: string): Promise<Record<string, unknown>> {
    const answer = await fetch(`http://127.0.0.1:${this.#setup.monitorPort}${path}`, {
      signal: AbortSignal.timeout(1000),
    });
    return (await answer.json()) as Record<string, unknown>;
  }

  async #healthy(): Promise<boolean> {
    try {
      return (await this.monitor('/healthz'))['status'] === 'ok';
    } catch {
      // Not listening yet.
      return false;
    }
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    // One that could not be started does not end either.
    if (child?.pid === undefined) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    // A stopped process takes SIGTERM only when it runs again.
    child.kill('SIGCONT');
    const forced = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(forced);
  }

  #ended(child: ChildProcess): void {
    running.delete(child);
    this.#watchdog?.kill('SIGKILL');
    this.#watchdog = undefined;
    if (this.#child === child) this.#child = undefined;
  }

  #noted(text: Buffer): void {
    this.#log = (this.#log + text.toString()).slice(-200_000);
  }

  #config(): string {
    const { name, dir, port, monitorPort, cluster, extra, jetstream } = this.#setup;
    const store = `jetstream { store_dir: "${join(dir, 'store')}", max_memory_store: 64MB, max_file_store: 8GB }`;
    return [
      `server_name: ${name}`,
      `listen: "127.0.0.1:${port}"`,
      `http: "127.0.0.1:${monitorPort}"`,
      jetstream === false ? '' : store,
      cluster ?? '',
      extra ?? '',
    ].join('\n');
  }
}

/**
 * Ends the server and removes its folder when this process is gone without having cleaned up: the pipe closes then.
 * Without it a killed test run would leave servers behind.
 */
function watch(child: ChildProcess, dir: string): ChildProcess {
  const script = 'cat > /dev/null; kill -9 "$1"; rm -rf "$2"; rmdir "$(dirname "$2")" 2> /dev/null';
  const watchdog = spawn('sh', ['-c', script, 'watch', String(child.pid), dir], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  watchdog.unref();
  return watchdog;
}
