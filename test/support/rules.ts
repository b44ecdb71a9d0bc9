/** The house rules of docs and design as functions from sources to complaints, so that each can be shown to fail. */
import { posix } from 'node:path';
import { lineCount, type Source } from './source.ts';

export const FILE_LINES = 400;
export const FUNCTION_LINES = 50;
export const COMPLEXITY = 10;

const SERVER = ['protocol', 'broker', 'transport', 'bus', 'auth', 'api', 'ops', 'config'];

/**
 * What each part of src may import, beside itself. The parts that talk to the world know the domain and not one
 * another; config knows auth, since keys are a setting; app.ts alone puts them together.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  broker: ['protocol'],
  transport: ['protocol', 'broker'],
  bus: ['protocol', 'broker'],
  auth: ['protocol', 'broker'],
  api: ['protocol', 'broker'],
  ops: ['protocol', 'broker'],
  config: ['protocol', 'broker', 'auth'],
  cli: ['protocol', 'broker', 'auth', 'config'],
  client: ['protocol'],
  page: ['protocol', 'client'],
  app: SERVER,
  supervisor: [...SERVER, 'app'],
  main: [...SERVER, 'cli', 'app', 'supervisor'],
  commands: [...SERVER, 'cli', 'app', 'supervisor', 'main'],
  'cli.ts': ['cli', 'commands'],
};

/** Implementations of one port: what they share stands beside them, and app.ts picks one. */
const BUSES = ['src/bus/local/', 'src/bus/memory/', 'src/bus/nats/'];

/** `src/broker/room.ts` and `src/config.ts` belong to broker and config; cli.ts is above the folder cli. */
function partOf(path: string): string {
  const [, first = ''] = path.split('/');
  return first === 'cli.ts' ? first : first.replace(/\.ts$/, '');
}

interface Edge {
  readonly from: string;
  readonly to: string;
  readonly line: number;
}

/** Relative imports, as paths from the root. */
function edgesOf(source: Source): Edge[] {
  return source.imports
    .filter(({ what }) => what.startsWith('.'))
    .map(({ what, line }) => ({ from: source.path, to: posix.join(posix.dirname(source.path), what), line }));
}

export function wrongDirections(sources: readonly Source[]): string[] {
  return sources.flatMap(edgesOf).flatMap(({ from, to, line }) => {
    const [part, target] = [partOf(from), partOf(to)];
    const allowed = MAY_IMPORT[part];
    if (allowed === undefined) return [`${from}: the folder ${part} has no place in the layers`];
    const sibling = part === 'bus' && BUSES.some((bus) => to.startsWith(bus) && !from.startsWith(bus));
    if ((part === target || allowed.includes(target)) && to.startsWith('src/') && !sibling) return [];
    return [`${from}:${line}: ${part} may not import ${to}`];
  });
}

/** Packages and built-in modules that are kept to one place. */
const KEPT: readonly { readonly module: RegExp; readonly only: RegExp; readonly why: string }[] = [
  {
    module: /^uWebSockets\.js$/,
    only: /^src\/transport\//,
    why: 'its rules against crashes live in transport/',
  },
  { module: /^@nats-io\//, only: /^src\/bus\/nats\//, why: 'the bus is a port' },
  {
    module: /^@opentelemetry\//,
    only: /^src\/ops\/tracing\.ts$/,
    why: 'it is loaded only where tracing is on',
  },
  {
    module: /^(node:)?process$/,
    only: /^src\/(main|cli|commands|ops\/process|transport\/native)\.ts$/,
    why: 'see PROCESS',
  },
  {
    module: /^node:/,
    only: /^src\/(?!protocol\/|broker\/|client\/|page\/)/,
    why: 'the domain is pure, and protocol, client and page run in browsers',
  },
];

export function strayModules(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path, imports }) =>
    imports.flatMap(({ what, line }) =>
      KEPT.filter(({ module, only }) => module.test(what) && !only.test(path)).map(
        ({ why }) => `${path}:${line}: may not import ${what}: ${why}`,
      ),
    ),
  );
}

const CLOCKS = [
  'Date.now',
  'new Date',
  'performance.now',
  'Math.random',
  'crypto.randomUUID',
  'crypto.getRandomValues',
];
const TIMERS = ['setTimeout', 'setInterval', 'setImmediate'];

/**
 * Only these touch the process: main.ts, cli.ts and commands.ts are it; ops/process.ts reads its memory and CPU time for
 * the metrics, and transport/native.ts which Node and which glibc it is.
 */
const PROCESS = /^src\/(main|cli|commands|ops\/process|transport\/native)\.ts$/;

export function bannedUses(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path, uses, faults }) => {
    const pure = /^src\/(broker|protocol)\//.test(path);
    return [
      ...uses
        .filter(
          ({ what }) =>
            (pure && [...CLOCKS, ...TIMERS].includes(what)) || (what === 'process' && !PROCESS.test(path)),
        )
        .map(({ what, line }) => `${path}:${line}: ${what} may not be used here`),
      ...faults.map(({ what, line }) => `${path}:${line}: ${what}`),
    ];
  });
}

/** Each cycle once, as the list of its files. Imports of types count. */
export function cycles(sources: readonly Source[]): string[] {
  const next = new Map(sources.map((source) => [source.path, edgesOf(source).map(({ to }) => to)]));
  const done = new Set<string>();
  const found: string[] = [];
  const follow = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at >= 0) found.push([...trail.slice(at), path].join(' -> '));
    if (at >= 0 || done.has(path)) return;
    for (const to of next.get(path) ?? []) follow(to, [...trail, path]);
    done.add(path);
  };
  for (const path of next.keys()) follow(path, []);
  return found;
}

export function longFiles(files: readonly { readonly path: string; readonly text: string }[]): string[] {
  return files
    .filter(({ text }) => lineCount(text) > FILE_LINES)
    .map(({ path, text }) => `${path}: ${lineCount(text)} lines, at most ${FILE_LINES}`);
}

export function largeFunctions(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path, functions }) =>
    functions.flatMap(({ name, line, lines, complexity }) => [
      ...(lines > FUNCTION_LINES
        ? [`${path}:${line}: ${name} has ${lines} lines, at most ${FUNCTION_LINES}`]
        : []),
      ...(complexity > COMPLEXITY
        ? [`${path}:${line}: ${name} has complexity ${complexity}, at most ${COMPLEXITY}`]
        : []),
    ]),
  );
}

/** In pieces, so that this file does not hold what it looks for. */
const UNFINISHED = new RegExp(
  `\\b(${['FIX', 'TO', 'XX'].map((word, at) => word + ['ME', 'DO', 'X'][at]).join('|')})\\b`,
);

const REGISTRIES = [
  ['registry', 'npmjs', 'org'],
  ['npmjs', 'com'],
  ['registry', 'yarnpkg', 'com'],
  ['npm', 'pkg', 'github', 'com'],
  ['npm', 'jsr', 'io'],
  ['registry', 'npmmirror', 'com'],
  ['pypi', 'org'],
  ['files', 'pythonhosted', 'org'],
  ['proxy', 'golang', 'org'],
  ['sum', 'golang', 'org'],
  ['crates', 'io'],
].map((parts) => parts.join('.'));

/** Words that no text file of the project holds. */
export function bannedWords(files: readonly { readonly path: string; readonly text: string }[]): string[] {
  return files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, at) => {
      const host = REGISTRIES.find((name) => line.includes(name));
      const word = UNFINISHED.exec(line)?.[0] ?? host;
      return word === undefined ? [] : [`${path}:${at + 1}: ${word}`];
    }),
  );
}

/** Every package of package.json has a line that starts with its name in the table of docs/dependencies.md. */
export function undocumented(packageJson: string, documentation: string): string[] {
  const { dependencies = {}, devDependencies = {} } = JSON.parse(packageJson) as Record<
    string,
    object | undefined
  >;
  return Object.keys({ ...dependencies, ...devDependencies }).filter(
    (name) => !documentation.split('\n').some((line) => line.startsWith(`| \`${name}\` |`)),
  );
}

interface LockedPackage {
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/**
 * Platform packages that a locked package asks for and the lock file does not hold. `npm ci` refuses such a lock,
 * and on that platform the package would not run. npm writes one when a version is not published for all platforms.
 */
export function unlocked(packageLock: string): string[] {
  const { packages } = JSON.parse(packageLock) as {
    readonly packages: Readonly<Record<string, LockedPackage>>;
  };
  return Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !(`node_modules/${name}` in packages || `${path}/node_modules/${name}` in packages))
      .map((name) => `${path}: ${name} is not locked`),
  );
}
