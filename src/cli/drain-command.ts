/** `carillon drain` as a process: where it finds the broker and its token, what it says and how it ends. */
import { readFile } from 'node:fs/promises';
import type { Config } from '../config.ts';
import { DRAIN_HELP, type DrainFlags, type DrainTarget, drainFlags, runDrain } from './drain.ts';
import { EXIT } from './exit.ts';

/** Of node:process. */
type Process = Pick<NodeJS.Process, 'env' | 'stdout' | 'stderr' | 'exitCode'>;

const DEFAULT_ADMIN = 'http://127.0.0.1:9090';

export async function drain(args: readonly string[], host: Process): Promise<void> {
  const { env, stdout, stderr } = host;
  const failed = (reason: string, code: number): void => {
    stderr.write(`carillon: ${reason}\n`);
    host.exitCode = code;
  };
  if (args.some((arg) => arg === '--help' || arg === '-h')) return void stdout.write(DRAIN_HELP);
  const read = drainFlags(args);
  if (!read.ok) return failed(`${read.reason}\n\nSee: carillon drain --help`, EXIT.usage);
  const { flags } = read;
  const done = await runDrain(
    flags,
    () => targetOf(flags, env),
    (line) => void stdout.write(`${line}\n`),
  );
  if (!done.ok) failed(done.reason, EXIT.failed);
}

/** What flags and environment do not say the settings of the broker do, where there are any. */
async function targetOf(flags: DrainFlags, env: Process['env']): Promise<DrainTarget> {
  // Compose files and charts pass on variables that nobody set as empty ones.
  const given = {
    admin: flags.admin,
    token: (await tokenOf(flags)) ?? (env['CARILLON_ADMIN_TOKEN'] || undefined),
  };
  const file = flags.config ?? env['CARILLON_CONFIG'];
  const complete = given.admin !== undefined && given.token !== undefined;
  const settings = complete || file === undefined ? undefined : await settingsOf(file, env);
  return {
    admin: given.admin ?? settings?.admin ?? DEFAULT_ADMIN,
    token: given.token ?? settings?.token,
  };
}

/** undefined: no broker could be started with them. */
async function settingsOf(file: string, env: Process['env']): Promise<DrainTarget | undefined> {
  // Here, since it is most of what there is to load.
  const { loadConfig } = await import('../config.ts');
  const loaded = loadConfig({ env, file });
  return loaded.ok ? { admin: urlOf(loaded.config), token: loaded.config.admin.token } : undefined;
}

/** Not read where it cannot be: the broker says what is missing. */
async function tokenOf({ adminToken, adminTokenFile }: DrainFlags): Promise<string | undefined> {
  if (adminTokenFile === undefined) return adminToken;
  const text = await readFile(adminTokenFile, 'utf8').catch(() => undefined);
  return text?.trim();
}

function urlOf({ admin: { listen } }: Config): string {
  const { host, port } = listen;
  const local = host === '0.0.0.0' || host === '::' ? 'localhost' : host;
  return `http://${local.includes(':') ? `[${local}]` : local}:${port}`;
}
