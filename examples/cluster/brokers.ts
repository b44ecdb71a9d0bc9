import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const RESTART_MS = 2000;

export interface BrokerSetup {
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  readonly say: (text: string) => void;
}

/** One broker process that comes back after it dies, as an orchestrator would bring it back. */
export class Broker {
  readonly name: string;
  readonly #setup: BrokerSetup;
  #child: ChildProcess | undefined;
  #address: { host: string; port: number } | undefined;
  #stopping = false;

  constructor(setup: BrokerSetup) {
    this.name = setup.name;
    this.#setup = setup;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  address(): { host: string; port: number } | undefined {
    return this.#address;
  }

  start(): void {
    const { env, say } = this.#setup;
    const child = spawn(process.execPath, [MAIN], {
      env: { ...process.env, CARILLON_LISTEN: '127.0.0.1:0', CARILLON_ADMIN_LISTEN: '127.0.0.1:0', ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
      // A group of its own: ctrl-C reaches this process alone, which then ends the brokers in order.
      detached: true,
    });
    this.#child = child;
    process.once('exit', () => child.kill('SIGKILL'));
    createInterface({ input: child.stdout }).on('line', (line) => this.#line(line));
    child.once('exit', (code, signal) => {
      this.#address = undefined;
      if (this.#stopping) return;
      say(
        `${this.name} died (${signal ?? `exit code ${code}`}); it is started again in ${RESTART_MS / 1000} s`,
      );
      setTimeout(() => {
        if (!this.#stopping) this.start();
      }, RESTART_MS);
    });
  }

  /** It drains first, quickly. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGINT');
    const forced = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(forced);
  }

  /** Shows what a person watching wants to know: that it is up, and every trouble with the bus. */
  #line(line: string): void {
    const entry = parse(line);
    if (entry?.msg === 'listening') {
      const [host = '', port = ''] = String(entry.listen).split(':');
      this.#address = { host, port: Number(port) };
      this.#setup.say(`${this.name} is up: ${entry.listen}, pid ${this.pid}`);
    } else if (entry !== undefined && entry.level !== 'info' && entry.level !== 'debug') {
      this.#setup.say(`${this.name} ${entry.level}: ${entry.msg}`);
    }
  }
}

interface Entry {
  readonly level?: string;
  readonly msg?: string;
  readonly listen?: string;
}

function parse(line: string): Entry | undefined {
  try {
    return JSON.parse(line) as Entry;
  } catch {
    return undefined;
  }
}
