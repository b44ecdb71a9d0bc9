/** What the `carillon` command does, but for the drain. */
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { DOCTOR_HELP, doctorFlags, showFindings } from './cli/doctor.ts';
import { EXIT } from './cli/exit.ts';
import {
  EXPLAIN_HELP,
  type ExplainFlags,
  type ExplainResult,
  explainFlags,
  explainOffline,
  explainOnline,
  showExplanation,
} from './cli/explain.ts';
import {
  askFate,
  EXPLAIN_MESSAGE_HELP,
  exitOf,
  type MessageFlags,
  messageFlags,
  showFate,
} from './cli/explain-message.ts';
import { runKeys } from './cli/keys.ts';
import { serveFlags } from './cli/serve.ts';
import { STREAMS_HELP, showApplied, streamsFlags } from './cli/streams.ts';
import { bringsKey, makeToken, TOKEN_HELP, tokenFlags } from './cli/token.ts';
import { type Config, loadConfig, VERSION } from './config.ts';
import { checkConfig, configure, refuseUsage, serve } from './main.ts';
import { createLog } from './ops/log.ts';
import { maxDescriptors } from './ops/process.ts';
import { currentRuntime } from './transport/native.ts';

const HELP = `carillon: a WebSocket pub/sub broker

  carillon serve          start a broker
  carillon token          make a token that a client connects with
  carillon keys           make and rotate the keys that tokens are signed with
  carillon streams apply  create or update the NATS streams that the settings ask for
  carillon explain access why a client may, or may not, do something in a room
  carillon explain message  what became of a message for a user
  carillon doctor         what is wrong with settings, machine, keys and NATS, and how to mend it
  carillon drain          send the clients of a broker away, to the others
  carillon check-config   say what is wrong with the settings, or that nothing is
  carillon help           print this; "carillon COMMAND --help" says more

First steps
  carillon serve                                  on 127.0.0.1:8080, development mode: prints a page and a token
  export CARILLON_JWT_SECRET=$(openssl rand -base64 48)
  carillon serve                                  the same with a key of your own
  carillon token --sub alice                      a token for alice, everything allowed, one hour
  wscat -c ws://127.0.0.1:8080/connect -s chat.v1 -H "Authorization: Bearer $(carillon token --sub alice)"
  carillon check-config --config carillon.yaml

Settings come from a YAML file (--config FILE or CARILLON_CONFIG) and from the environment.
Exit codes: 0 fine, 1 failed, 64 wrong usage, 78 wrong configuration.
`;

const CHECK_HELP = `carillon check-config [--config FILE]: read the settings as a start would, files of keys included

Exit codes: 0 good, 78 not good; each problem names its key, value, what is expected and a fix.
`;

type Command = (args: readonly string[]) => Promise<void> | void;

const COMMANDS: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['serve', serve],
  ['token', token],
  ['keys', keys],
  ['streams', streams],
  ['explain', explain],
  ['doctor', doctor],
  ['check-config', check],
  ['help', () => void process.stdout.write(HELP)],
  ['--help', () => void process.stdout.write(HELP)],
  ['-h', () => void process.stdout.write(HELP)],
  ['version', () => void process.stdout.write(`${VERSION}\n`)],
  ['--version', () => void process.stdout.write(`${VERSION}\n`)],
]);

async function token(args: readonly string[]): Promise<void> {
  const read = tokenFlags(args);
  if (!read.ok) return refuseUsage(read.reason, TOKEN_HELP);
  if (read.flags.help) return void process.stdout.write(TOKEN_HELP);
  const ownKey = bringsKey(read.flags);
  const { config: file } = read.flags.values;
  const loaded = ownKey && file === undefined ? undefined : await configure(file);
  if (loaded === undefined && !(ownKey && file === undefined)) return;
  const made = await makeToken(read.flags, loaded?.config, Date.now());
  if (made.ok) return void process.stdout.write(`${made.token}\n`);
  if (made.kind === 'usage') return refuseUsage(made.reason, 'See: carillon token --help\n');
  process.stderr.write(`carillon: ${made.reason}\n`);
  process.exitCode = EXIT.config;
}

async function keys(args: readonly string[]): Promise<void> {
  const done = await runKeys(args, Date.now());
  if (done.ok) return void process.stdout.write(done.text);
  if (done.kind === 'usage') return refuseUsage(done.reason, 'See: carillon keys --help\n');
  failed(done.reason);
}

async function streams([action, ...args]: readonly string[]): Promise<void> {
  const read = streamsFlags(args);
  if (!read.ok) return refuseUsage(read.reason, STREAMS_HELP);
  if (action === '--help' || read.flags.help) return void process.stdout.write(STREAMS_HELP);
  if (action !== 'apply')
    return refuseUsage(`there is no action ${action ?? '(none)'} on streams`, STREAMS_HELP);
  const loaded = await configure(read.flags.config);
  if (loaded !== undefined) await applyStreams(loaded.config, read.flags.narrow);
}

async function applyStreams(config: Config, narrow: boolean): Promise<void> {
  try {
    // Here, so that no other command loads the server, and `serve` looks at its native binary before.
    const { provisionStreams } = await import('./app.ts');
    process.stdout.write(showApplied(await provisionStreams(config, createLog('warn'), narrow)));
  } catch (error) {
    process.stderr.write(`carillon: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = EXIT.failed;
  }
}

const DENIED = 2;

async function explain([what, ...args]: readonly string[]): Promise<void> {
  const help = what === 'message' ? EXPLAIN_MESSAGE_HELP : EXPLAIN_HELP;
  if ([what, ...args].some((arg) => arg === '--help' || arg === '-h')) return void process.stdout.write(help);
  if (what === 'message') return explainMessage(args);
  if (what !== 'access')
    return refuseUsage(`there is nothing to explain about ${what ?? '(nothing)'}`, EXPLAIN_HELP);
  const read = explainFlags(args);
  if (!read.ok) return refuseUsage(read.reason, 'See: carillon explain access --help\n');
  const flags = await withSecrets(read.flags);
  const result = await ask(flags);
  if (result !== undefined) tell(flags, result);
}

async function explainMessage(args: readonly string[]): Promise<void> {
  const read = messageFlags(args);
  if (!read.ok) return refuseUsage(read.reason, 'See: carillon explain message --help\n');
  const { json } = read.flags;
  const result = await askFate(withAdminToken(read.flags));
  if (!result.ok) return failed(result.reason);
  const { explained } = result;
  process.stdout.write(json ? `${JSON.stringify(explained)}\n` : showFate(explained));
  process.exitCode = exitOf(explained.verdict);
}

function failed(reason: string): void {
  process.stderr.write(`carillon: ${reason}\n`);
  process.exitCode = EXIT.failed;
}

function tell({ json, question }: ExplainFlags, result: ExplainResult): void {
  if (!result.ok) return failed(result.reason);
  const { explanation } = result;
  process.stdout.write(json ? `${JSON.stringify(explanation)}\n` : showExplanation(explanation, question));
  process.exitCode = explanation.decision === 'allow' ? EXIT.ok : DENIED;
}

function adminToken(given: string | undefined): string | undefined {
  return given ?? process.env['CARILLON_ADMIN_TOKEN'];
}

/** What is better not typed on a command line, where others on this machine can read it. */
async function withSecrets(flags: ExplainFlags): Promise<ExplainFlags> {
  const { question } = flags;
  const token = question.token === '-' ? (await text(process.stdin)).trim() : question.token;
  return { ...withAdminToken(flags), question: { ...question, token } };
}

function withAdminToken<Flags extends ExplainFlags | MessageFlags>(flags: Flags): Flags {
  const token = adminToken(flags.adminToken);
  return { ...flags, ...(token && { adminToken: token }) };
}

async function ask(flags: ExplainFlags): Promise<ExplainResult | undefined> {
  if (flags.admin !== undefined) return explainOnline(flags, flags.admin);
  const loaded = await configure(flags.config);
  return loaded && explainOffline(flags, loaded.config, Date.now);
}

async function doctor(args: readonly string[]): Promise<void> {
  const read = doctorFlags(args);
  if (!read.ok) return refuseUsage(read.reason, DOCTOR_HELP);
  const { config: file, json, help } = read.flags;
  if (help) return void process.stdout.write(DOCTOR_HELP);
  const openFiles = await maxDescriptors();
  const loaded = loadConfig({ env: process.env, openFiles, ...(file !== undefined && { file }) });
  const { diagnose } = await import('./app/doctor/doctor.ts');
  const findings = await diagnose({ loaded, openFiles, runtime: currentRuntime(), log: createLog('silent') });
  process.stdout.write(showFindings(findings, json));
  if (!loaded.ok) process.exitCode = EXIT.config;
  else if (findings.some(({ status }) => status === 'fail')) process.exitCode = EXIT.failed;
}

async function check(args: readonly string[]): Promise<void> {
  const read = serveFlags(args);
  if (!read.ok) return refuseUsage(read.reason, CHECK_HELP);
  if (read.flags.help) return void process.stdout.write(CHECK_HELP);
  await checkConfig(read.flags.config);
}

export async function run([name, ...args]: readonly string[]): Promise<void> {
  const command = COMMANDS.get(name ?? 'help');
  if (command === undefined) return refuseUsage(`there is no command ${name}`, HELP);
  await command(args);
}
