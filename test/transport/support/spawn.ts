/** Child processes: naive programs that are to crash, and nodes of ours that are to live. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Limits } from '../../../src/broker/settings.ts';
import type { CompressionSettings } from '../../../src/transport/compression.ts';

export interface NodeSettings {
  readonly limits?: Partial<Limits>;
  readonly idleSeconds?: number;
  readonly compression?: CompressionSettings;
  /** The limit of open files of the process. */
  readonly openFiles?: number;
  readonly publishBeforeListen?: boolean;
  /** Publishes `bytes` into each of the rooms `room0`, `room1`, … every millisecond, once `members` are in all. */
  readonly storm?: { readonly rooms: number; readonly bytes: number; readonly members: number };
}

export interface Counts {
  readonly connections: number;
  readonly messagesIn: number;
  readonly deferred: number;
  readonly dropped: number;
  /** By the code that the session was told. */
  readonly closes: Readonly<Record<string, number>>;
  readonly upgrades: Readonly<Record<string, number>>;
  /** What was logged as an error. */
  readonly failures: readonly string[];
  readonly rss: number;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** SIGTRAP is how V8 ends a process whose invariants are broken. */
const DEADLY: ReadonlySet<string> = new Set(['SIGSEGV', 'SIGBUS', 'SIGABRT', 'SIGTRAP']);

/** Ended by the kernel or by abort(), not by JavaScript. A shell in between makes 128 + number of the signal. */
export function crashed({ code, signal }: Exit): boolean {
  return (signal !== null && DEADLY.has(signal)) || code === 134 || code === 139;
}

export class Program {
  readonly #process: ChildProcess;
  readonly exited: Promise<Exit>;
  /** Set once it has exited. */
  exit: Exit | undefined;
  output = '';
  port = 0;

  constructor(process: ChildProcess) {
    this.#process = process;
    this.exited = new Promise((resolve) => {
      process.once('exit', (code, signal) => {
        this.exit = { code, signal };
        resolve(this.exit);
      });
    });
    process.stdout?.on('data', (data) => {
      this.output += data;
    });
    process.stderr?.on('data', (data) => {
      this.output += data;
    });
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  /** `R` while it runs or wants to run, `S` while it waits, as the kernel says. Linux. */
  state(): string | undefined {
    return readFileSync(`/proc/${this.pid}/stat`, 'latin1').split(') ')[1]?.charAt(0);
  }

  /** The node's counts at this moment. */
  async counts(): Promise<Counts> {
    if (this.exit !== undefined)
      throw new Error(`the node is gone: ${JSON.stringify(this.exit)}\n${this.output}`);
    this.#process.send('counts');
    const answer = once(this.#process, 'message', { signal: AbortSignal.timeout(10_000) });
    const [counts] = await Promise.race([answer, this.exited.then(() => [undefined])]);
    if (counts === undefined) throw new Error(`the node died: ${JSON.stringify(this.exit)}\n${this.output}`);
    return counts as Counts;
  }

  /** Asks for the counts until they are as wanted, or fails after the time. */
  async until(wanted: (counts: Counts) => boolean, ms = 10_000): Promise<Counts> {
    const deadline = performance.now() + ms;
    for (;;) {
      const counts = await this.counts();
      if (wanted(counts)) return counts;
      if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${JSON.stringify(counts)}`);
      await pause(25);
    }
  }

  /** Resolves with the exit, or undefined when it still lives after the time. */
  async exitWithin(ms: number): Promise<Exit | undefined> {
    let late: NodeJS.Timeout | undefined;
    const lateness = new Promise<undefined>((resolve) => {
      late = setTimeout(resolve, ms, undefined);
    });
    const exit = await Promise.race([this.exited, lateness]);
    clearTimeout(late);
    return exit;
  }

  async kill(): Promise<void> {
    if (this.exit !== undefined) return;
    this.#process.kill('SIGKILL');
    await this.exited;
  }
}

/** A node of ours, listening. */
export async function startNode(settings: NodeSettings = {}): Promise<Program> {
  const node = [process.execPath, '--import', 'tsx', fileURLToPath(new URL('./node.ts', import.meta.url))];
  const child = spawnUnder(settings.openFiles, [...node, JSON.stringify(settings)]);
  const program = new Program(child);
  const hello = await Promise.race([once(child, 'message'), program.exited.then(() => undefined)]);
  if (hello === undefined) throw new Error(`the node did not start:\n${program.output}`);
  program.port = (hello[0] as { port: number }).port;
  return program;
}

/** A naive program that needs no client. */
export function runNaive(name: string, ...args: string[]): Program {
  return new Program(spawn(process.execPath, [naivePath(name), ...args]));
}

/** A naive program that prints the port on which it listens. */
export async function startNaive(name: string, ...args: string[]): Promise<Program> {
  const program = runNaive(name, ...args);
  await listening(program);
  return program;
}

/** Under a limit of open files. */
export async function startNaiveWithFiles(files: number, name: string): Promise<Program> {
  const program = new Program(spawnUnder(files, [process.execPath, naivePath(name)]));
  await listening(program);
  return program;
}

/** Only a shell can lower the limit of open files; exec keeps the process id, and the channel to the parent. */
function spawnUnder(openFiles: number | undefined, [command = '', ...args]: string[]): ChildProcess {
  const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', 'ipc'];
  if (openFiles === undefined) return spawn(command, args, { stdio });
  return spawn('/bin/sh', ['-c', `ulimit -n ${openFiles}; exec "$0" "$@"`, command, ...args], { stdio });
}

async function listening(program: Program): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!/^\d+\n/.test(program.output)) {
    if (program.exit !== undefined || performance.now() > deadline)
      throw new Error(`the naive program did not start: ${program.output}`);
    await pause(5);
  }
  program.port = Number.parseInt(program.output, 10);
}

function naivePath(name: string): string {
  return new URL(`../naive/${name}`, import.meta.url).pathname;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
