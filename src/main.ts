/** The process: flags, signals, exit codes. stdout carries JSON log lines only; what is for people goes to stderr. */
import { randomBytes } from 'node:crypto';
import { existsSync, realpathSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { startWarnings } from './app/doctor/start.ts';
import type { App } from './app.ts';
import { type DevelopmentKey, developmentKey } from './auth/development.ts';
import { EXIT } from './cli/exit.ts';
import { developmentNotice, SERVE_HELP, serveFlags } from './cli/serve.ts';
import { reportProblems } from './config/report.ts';
import { workersOf } from './config/workers.ts';
import { type Config, loadConfig, VERSION } from './config.ts';
import { createLog } from './ops/log.ts';
import { maxDescriptors } from './ops/process.ts';
import type { Begin, ToWorker } from './supervisor/messages.ts';
import type { Channel } from './supervisor/seat.ts';
import { checkNative } from './transport/native.ts';

/** Longer than any drain takes: something hangs, and an orchestrator would send SIGKILL soon. */
const SHUTDOWN_SLACK_MS = 5000;

export interface Loaded {
  readonly config: Config;
  readonly warnings: readonly string[];
}

/** The settings; or undefined, with the problems told and the exit code set. */
export async function configure(file: string | undefined): Promise<Loaded | undefined> {
  const loaded = loadConfig({
    env: process.env,
    openFiles: await maxDescriptors(),
    ...(file === undefined ? {} : { file }),
  });
  if (loaded.ok) return loaded;
  process.stderr.write(reportProblems(loaded.problems));
  process.exitCode = EXIT.config;
  return undefined;
}

export async function checkConfig(file: string | undefined): Promise<void> {
  const loaded = await configure(file);
  if (loaded === undefined) return;
  for (const warning of loaded.warnings) process.stderr.write(`warning: ${warning}\n`);
  process.stdout.write('The configuration is good.\n');
}

export function refuseUsage(reason: string, help: string): void {
  process.stderr.write(`carillon: ${reason}\n\n${help}`);
  process.exitCode = EXIT.usage;
}

/** `node dist/main.js` and `carillon serve`. */
export async function serve(args: readonly string[]): Promise<void> {
  const read = serveFlags(args);
  if (!read.ok) return refuseUsage(read.reason, SERVE_HELP);
  const { flags } = read;
  if (flags.help) return void process.stdout.write(SERVE_HELP);
  if (flags.version) return void process.stdout.write(`${VERSION}\n`);
  if (flags.checkConfig) return checkConfig(flags.config);
  const channel = flags.worker === undefined ? undefined : channelOf();
  if (flags.worker !== undefined && channel === undefined)
    return refuseUsage('--worker is for the supervisor (workers in the settings)', SERVE_HELP);
  const loaded = await configure(flags.config);
  if (loaded !== undefined) await start(loaded, args, channel);
}

async function start(
  loaded: Loaded,
  args: readonly string[],
  channel: SupervisorChannel | undefined,
): Promise<void> {
  const { config } = loaded;
  const begin = await channel?.begin;
  const log = await begun(loaded, begin?.number);
  try {
    // What each of them imports only then: `carillon token` and --check-config need not load the server.
    if (channel !== undefined && begin !== undefined) await work(config, channel, begin, log);
    else if (workersOf(config) > 1) await supervise(config, args, log);
    else await run(config, log);
  } catch (error) {
    failStart(log, error);
  }
}

/** The log, with what is to be said first; a worker leaves that to its supervisor. */
async function begun({ config, warnings }: Loaded, worker: number | undefined): Promise<Logger> {
  const log = createLog(config.log.level, undefined, config.log.repeats);
  failOnBugs(log);
  const native = checkNative();
  if (!native.ok) failStart(log, new Error(native.reason));
  if (worker !== undefined) return log.child({ worker });
  for (const warning of warnings) log.warn({}, warning);
  for (const { says, fix } of startWarnings(config, await maxDescriptors()))
    log.warn({ fix, see: 'docs/operations/kernel.md' }, says);
  return log;
}

async function run(config: Config, log: Logger): Promise<void> {
  const development = config.development ? developmentKey(randomBytes(32), Date.now) : undefined;
  const { createApp } = await import('./app.ts');
  const app = await createApp(withKey(config, development), log, development);
  stopOnSignals(config, log, (fast) => ended(app, fast));
  await listening(await app.listen(), development, config, log);
}

async function supervise(config: Config, args: readonly string[], log: Logger): Promise<void> {
  const secret = config.development ? randomBytes(32) : undefined;
  const { Supervisor } = await import('./supervisor/supervisor.ts');
  const program = { file: fileURLToPath(import.meta.url), args, out: process.stdout };
  const workers = workersOf(config);
  const supervisor = new Supervisor({ config, workers, development: secret, program, log });
  process.on('exit', () => supervisor.kill());
  stopOnSignals(config, log, async (fast) => {
    if (!(await supervisor.stop(fast))) throw new Error('a worker has not ended as it was asked to');
  });
  const development = secret && developmentKey(secret, Date.now);
  await listening(await supervisor.start(), development, config, log);
}

/** A process that a supervisor has started: its clients are its own, all else is told by the supervisor. */
async function work(config: Config, channel: SupervisorChannel, begin: Begin, log: Logger): Promise<void> {
  const development = begin.development && developmentKey(begin.development, Date.now);
  const { createSeat, seated } = await import('./supervisor/seat.ts');
  const { createApp } = await import('./app.ts');
  const own = withKey(seated(config, begin), development);
  const seat = createSeat(begin, channel, log);
  const app = await createApp(own, log, development, seat);
  const stop = stopOnce(own, log, (fast) => ended(app, fast));
  // A terminal and systemd signal the whole group, the supervisor among them: what comes first begins, the rest is it again.
  process.on('SIGTERM', (signal) => stop(signal));
  process.on('SIGINT', (signal) => stop(signal));
  channel.on((message) => {
    if (message.type === 'stop') stop(message.fast ? 'SIGINT' : 'SIGTERM');
    if (message.type === 'drain') app.beginDrain(message.reason, message.deadlineMs);
  });
  process.on('disconnect', () => {
    const what = 'the supervisor is gone';
    log.error({}, what);
    if (stop('SIGINT', EXIT.failed)) return;
    // A drain takes its time, and nobody is left who would wait for it.
    app.drain({ fast: true, reason: 'shutdown' }).catch((error: unknown) => fail(log, error, what));
  });
  const { listen } = await app.listen();
  channel.send({ type: 'listening', listen });
}

type SupervisorChannel = Channel & { readonly begin: Promise<Begin> };

/** undefined: nobody has started this process by a channel. */
function channelOf(): SupervisorChannel | undefined {
  if (process.send === undefined) return undefined;
  const on = (heard: (message: ToWorker) => void) => void process.on('message', heard);
  return {
    // Where the supervisor is gone, `disconnect` says so.
    send: (message) => void (process.connected && process.send?.(message)),
    on,
    begin: new Promise((resolve) => on((message) => message.type === 'begin' && resolve(message))),
  };
}

async function listening(
  addresses: { readonly listen: string; readonly admin: string },
  development: DevelopmentKey | undefined,
  config: Config,
  log: Logger,
): Promise<void> {
  // Whoever started the broker waits for this line, whatever the level.
  log.child({}, { level: 'info' }).info(addresses, 'listening');
  if (development) await welcome(addresses.listen, development, config, log);
}

function withKey(config: Config, development: DevelopmentKey | undefined): Config {
  return development ? { ...config, auth: { ...config.auth, keys: [development.key] } } : config;
}

async function welcome(
  listen: string,
  development: DevelopmentKey,
  config: Config,
  log: Logger,
): Promise<void> {
  log.warn({}, 'DEVELOPMENT MODE: no key is configured, one was made for this run; tokens end with it');
  const token = await development.mint('you');
  process.stderr.write(developmentNotice(listen, token, config.page.enabled, config.tls !== undefined));
}

function failOnBugs(log: Logger): void {
  process.on('uncaughtException', (error) => fail(log, error, 'uncaught exception'));
  process.on('unhandledRejection', (error) => fail(log, error, 'unhandled rejection'));
}

/** pino writes what is waiting when it logs `fatal`. */
function fail(log: Logger, error: unknown, message: string): never {
  log.fatal({ err: error }, message);
  process.exit(EXIT.failed);
}

/** What can be expected to go wrong is told to a person in words, without a stack that says nothing to them. */
function failStart(log: Logger, error: unknown): never {
  const message = 'the broker could not start';
  if (!(error instanceof Error) || isBug(error)) fail(log, error, message);
  const { code } = error as NodeJS.ErrnoException;
  process.stderr.write(`carillon: ${message}: ${error.message}\n`);
  log.debug({ err: error }, message);
  log.fatal({ reason: error.message, ...(code !== undefined && { code }) }, message);
  process.exit(EXIT.failed);
}

function isBug(error: Error): boolean {
  return [TypeError, RangeError, ReferenceError, SyntaxError].some((bug) => error instanceof bug);
}

/** SIGTERM takes the time that clients need, SIGINT is a person waiting; a second one means now. */
function stopOnSignals(config: Config, log: Logger, end: (fast: boolean) => Promise<void>): void {
  const stop = stopOnce(config, log, end);
  const onSignal = (signal: NodeJS.Signals) => {
    if (stop(signal)) return;
    log.warn({ signal }, 'second signal: ended at once');
    process.exit(EXIT.failed);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}

/** false: it stops already. `code`: how the process ends when all went well. */
type Stop = (signal: NodeJS.Signals, code?: number) => boolean;

function stopOnce({ drain }: Config, log: Logger, end: (fast: boolean) => Promise<void>): Stop {
  let stopping = false;
  return (signal, code = EXIT.ok) => {
    if (stopping) return false;
    stopping = true;
    log.info({ signal }, 'stopping');
    const late = () => fail(log, new Error('the deadline of the shutdown has passed'), 'the shutdown hangs');
    setTimeout(late, drain.deadlineMs + SHUTDOWN_SLACK_MS).unref();
    end(signal === 'SIGINT').then(
      () => {
        log.info({}, 'stopped');
        process.exit(code);
      },
      (error: unknown) => fail(log, error, 'the shutdown failed'),
    );
    return true;
  };
}

async function ended(app: App, fast: boolean): Promise<void> {
  await app.drain({ fast, reason: 'shutdown' });
  await app.close();
}

/** cli.ts imports this file as well and must not start a broker by that. `node dist/main` names it without its `.js`. */
function isProgram(): boolean {
  const [, started = ''] = process.argv;
  const self = fileURLToPath(import.meta.url);
  return [started, `${started}.js`].some((path) => existsSync(path) && realpathSync(path) === self);
}

if (isProgram()) await serve(process.argv.slice(2));
