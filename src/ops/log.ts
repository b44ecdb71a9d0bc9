import pino from 'pino';
import { Repeats } from './repeats.ts';

const MASK = '[redacted]';

/** The bytes of log lines that may wait for a stalled reader of stdout; what comes after them is dropped and counted. */
const WAITING_BYTES = 8 * 1024 * 1024;

/** Names of fields whose value is never written, whatever its type. Lower case. */
const SECRET_FIELDS = ['token', 'authorization', 'secret', 'ticket', 'password', 'cookie'] as const;

/** pino matches paths by exact name and depth: objects in logs are at most this deep (an error with its request). */
const REDACTED_PATHS = ['', '*.', '*.*.', '*.*.*.'].flatMap((prefix) =>
  SECRET_FIELDS.map((field) => `${prefix}${field}`),
);

/** The same names, or longer ones ending so, in a line that is JSON already: any depth, any case, string values. */
const SECRET_MEMBER = new RegExp(
  `"([\\w-]*(?:${SECRET_FIELDS.join('|')}))":"[^"\\\\]*(?:\\\\.[^"\\\\]*)*"`,
  'gi',
);

/** The same inside a string that holds JSON itself: a frame in a message. */
const QUOTED_MEMBER = new RegExp(
  `\\\\"([\\w-]*(?:${SECRET_FIELDS.join('|')}))\\\\":\\s*\\\\"[^"\\\\]*`,
  'gi',
);

/** Credentials as they stand in a Sec-WebSocket-Protocol header, and in an Authorization header. */
const NAMED_CREDENTIAL = /\b(bearer|ticket)(\.|\s+(?=[\w.~+/=-]{16}))[\w.~+/=-]+/gi;

/** The query of a URL or of a path: tokens travel there where auth.allowQueryToken is on. */
const QUERY = /(?<![^\s"\\?])([^\s"\\?]+)\?[^\s"\\]+/g;

/** User and password in front of a host: nats://user:password@host. */
const USER_INFO = /:\/\/[^\s"@/\\]+@/g;

/** Whole words of the JWT alphabet: starting only at the start of a word keeps a hostile line linear. */
const DOTTED_WORD = /(?<![\w.-])[\w.-]+/g;

/**
 * Masks what looks like a credential in a finished log line, so that one inside a message, an error text or a
 * field of another name is not written either. Linear in the length of the line; leaves valid JSON valid.
 */
export function maskSecrets(line: string): string {
  return line
    .replace(SECRET_MEMBER, `"$1":"${MASK}"`)
    .replace(QUOTED_MEMBER, `\\"$1\\":\\"${MASK}`)
    .replace(NAMED_CREDENTIAL, `$1$2${MASK}`)
    .replace(QUERY, maskQuery)
    .replace(USER_INFO, `://${MASK}@`)
    .replace(DOTTED_WORD, maskJwt);
}

function maskQuery(word: string, path: string): string {
  return path.includes('/') ? `${path}?${MASK}` : word;
}

/** A JWT starts with the Base64url of `{"`; a piece of one, from there on, is masked as well. */
function maskJwt(word: string): string {
  const start = word.indexOf('eyJ');
  if (start < 0 || word.indexOf('.', start) < 0) return word;
  return word.slice(0, start) + MASK;
}

/**
 * JSON lines with `time` (ISO 8601), `level` (a word), the fields of the child loggers and `msg`. Lines go to stdout
 * without holding the loop when its reader is slow; `fatal` and the end of the process write what is waiting.
 * @param repeats lines per second with the same message and `code`; more are counted in a line of their own. 0: all
 */
export function createLog(
  level: pino.LevelWithSilent,
  destination: pino.DestinationStream = toStdout(),
  repeats = 0,
): pino.Logger {
  const bound = new Repeats(
    repeats,
    () => performance.now(),
    (leftOut) => {
      everything.warn(leftOut, LEFT_OUT);
    },
  );
  const log = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: REDACTED_PATHS, censor: MASK },
      hooks: {
        logMethod(args, method, at) {
          if (isBounded(args, at)) {
            const what = bound.next(...kindOf(args));
            if (what === 'first') setTimeout(() => bound.end(), 1000).unref();
            if (what !== 'write') return;
          }
          // Nothing may come after this.
          if (at >= FATAL) bound.end();
          method.apply(this, args);
        },
        streamWrite: (line) => {
          const masked = maskSecrets(line);
          if (PROBLEM.test(masked)) remember(masked);
          return masked;
        },
      },
    },
    destination,
  );
  // Whatever the level is: lines that are not told of were left out for nothing.
  const everything = log.child({}, { level: 'trace' });
  return log;
}

const LEFT_OUT = 'log lines left out';
const FATAL = pino.levels.values['fatal'] as number;

type Arguments = Parameters<pino.LogFn>;

/** Who did what is kept whole, and so is what ends the process. */
function isBounded(args: Arguments, level: number): boolean {
  const [fields, message] = args as readonly unknown[];
  if (level >= FATAL || message === LEFT_OUT) return false;
  return !(typeof fields === 'object' && fields !== null && 'audit' in fields);
}

function kindOf(args: Arguments): [message: string, code: string] {
  const [fields, message] = args as readonly unknown[];
  const { code } = Object(fields) as { readonly code?: unknown };
  return [typeof message === 'string' ? message : '', code === undefined ? '' : String(code)];
}

/** As pino begins a line. */
const PROBLEM = /^\{"level":"(?:warn|error|fatal)"/;
const PROBLEMS = 50;
const PROBLEM_CHARACTERS = 2000;
const problems: string[] = [];

/** The last lines of this process from `warn` on, shortened; the newest last. */
export function recentProblems(): readonly string[] {
  return problems;
}

function remember(line: string): void {
  problems.push(line.trimEnd().slice(0, PROBLEM_CHARACTERS));
  if (problems.length > PROBLEMS) problems.shift();
}

function toStdout(): pino.DestinationStream {
  const stream = pino.destination({ dest: 1, sync: false, maxLength: WAITING_BYTES });
  let dropped = 0;
  stream.on('drop', () => {
    dropped++;
  });
  stream.on('drain', () => {
    if (dropped === 0) return;
    const line = {
      level: 'warn',
      time: new Date().toISOString(),
      dropped,
      msg: 'stdout was stalled: log lines dropped',
    };
    dropped = 0;
    stream.write(`${JSON.stringify(line)}\n`);
  });
  return stream;
}
