/** The process: flags, signals, exit codes. stdout carries JSON log lines only; what is for people goes to stderr. */
import { randomBytes } from 'node:crypto';
import { existsSync, realpathSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { startWarnings } from './app/doctor/start.ts';
import type { App } from './app.ts';
import { type DevelopmentKey, developmentKey } from './auth/development.ts';
import { developmentNotice, SERVE_HELP, serveFlags } from './cli/serve.ts';
import { reportProblems } from './config/report.ts';
import { type Config, loadConfig, VERSION } from './config.ts';
import { createLog } from './ops/log.ts';
import { checkNative } from './ops/native.ts';
import { maxDescriptors } from './ops/process.ts';

/** sysexits.h */
export const EXIT = { ok: 0, failed: 1, usage: 64, config: 78 } as const;

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
  const loaded = await configure(flags.config);
  if (loaded !== undefined) await run(loaded);
}

async function run({ config, warnings }: Loaded): Promise<void> {
  const log = createLog(config.log.level);
  failOnBugs(log);
  for (const warning of warnings) log.warn({}, warning);
  for (const { says, fix } of startWarnings(config, await maxDescriptors()))
    log.warn({ fix, see: 'docs/operations/kernel.md' }, says);
  const native = checkNative(process);
  if (!native.ok) fail(log, new Error(native.reason), 'the broker could not start');
  try {
    const development = config.development ? developmentKey(randomBytes(32), Date.now) : undefined;
    // Here, so that `carillon token` and --check-config need not load the server.
    const { createApp } = await import('./app.ts');
    const app = await createApp(withKey(config, development), log, development);
    stopOnSignals(app, config, log);
    const addresses = await app.listen();
    // Whoever started the broker waits for this line, whatever the level.
    log.child({}, { level: 'info' }).info(addresses, 'listening');
    if (development) await welcome(addresses.listen, development, config, log);
  } catch (error) {
    fail(log, error, 'the broker could not start');
  }
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

/** SIGTERM takes the time that clients need, SIGINT is a person waiting; a second one means now. */
function stopOnSignals(app: App, config: Config, log: Logger): void {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (!stopping) {
      stopping = true;
      stop(app, config, log, signal).catch((error: unknown) => fail(log, error, 'the shutdown failed'));
      return;
    }
    log.warn({ signal }, 'second signal: ended at once');
    process.exit(EXIT.failed);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}

async function stop(app: App, config: Config, log: Logger, signal: NodeJS.Signals): Promise<void> {
  log.info({ signal }, 'stopping');
  const late = () => fail(log, new Error('the deadline of the shutdown has passed'), 'the shutdown hangs');
  setTimeout(late, config.drain.deadlineMs + SHUTDOWN_SLACK_MS).unref();
  await app.drain({ fast: signal === 'SIGINT', reason: 'shutdown' });
  await app.close();
  log.info({}, 'stopped');
  process.exit(EXIT.ok);
}

/** cli.ts imports this file as well and must not start a broker by that. `node dist/main` names it without its `.js`. */
function isProgram(): boolean {
  const [, started = ''] = process.argv;
  const self = fileURLToPath(import.meta.url);
  return [started, `${started}.js`].some((path) => existsSync(path) && realpathSync(path) === self);
}

if (isProgram()) await serve(process.argv.slice(2));
