/** What the documents name is there: metrics, commands and flags, paths of the APIs, settings, scripts, files, alerts. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { schemaPaths } from '../../src/config/environment.ts';
import { exported } from '../ops/exported.ts';
import {
  anchorsOf,
  type Claim,
  codeOf,
  commandsIn,
  everywhere,
  keysIn,
  linksIn,
  metricsIn,
  pathsIn,
} from './text.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const DOCUMENTS = [
  'README.md',
  'SECURITY.md',
  'loadtest/README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true }).map((name) => `docs/${String(name)}`),
]
  .filter((path) => path.endsWith('.md'))
  .map((path) => ({ path, text: read(path) }));

type Rule = (claim: Claim) => boolean;

/** Every claim of every document that the rule does not know, as `file:line: name`. */
function unknown(find: (text: string) => readonly Claim[], known: Rule): string[] {
  return DOCUMENTS.flatMap(({ path, text }) =>
    find(text)
      .filter((claim) => !known(claim))
      .map(({ name, line }) => `${path}:${line}: ${name}`),
  );
}

/** That the search finds something at all, and that the rule refuses what is not there. */
function assertAlive(find: (text: string) => readonly Claim[], known: Rule, wrong: string): void {
  assert.ok(DOCUMENTS.some(({ text }) => find(text).length > 0));
  const claims = find(wrong);
  assert.ok(claims.length > 0 && !claims.every(known), wrong);
}

const { groups } = parse(read('config/alerts/carillon.yaml')) as {
  readonly groups: readonly {
    readonly rules: readonly { readonly alert?: string; readonly record?: string }[];
  }[];
};
const rules = groups.flatMap((group) => group.rules);

test('metrics and recorded series', async () => {
  const names = new Set([...(await exported()).keys(), ...rules.map(({ record }) => record)]);
  const known: Rule = ({ name }) => names.has(name);
  assertAlive(metricsIn, known, 'see carillon_conections');
  assertAlive(metricsIn, known, '`carillon:nothing:sum`');
  assert.deepEqual(unknown(metricsIn, known), []);
});

test('alerts', () => {
  const names = new Set(rules.map(({ alert }) => alert));
  const find = everywhere(/\bCarillon(?!Error\b)[A-Z]\w+/g);
  const known: Rule = ({ name }) => names.has(name);
  assertAlive(find, known, 'CarillonGone fires');
  assert.deepEqual(unknown(find, known), []);
});

const helps = new Map<string, string>();

/** @param command with its action, as in `keys make`; empty: of all. */
function help(command: string): string {
  const known = helps.get(command);
  if (known !== undefined) return known;
  const built = existsSync(join(ROOT, 'dist/cli.js'));
  const program = built ? ['dist/cli.js'] : ['--import', 'tsx', 'src/cli.ts'];
  const args = command === '' ? ['help'] : [...command.split(' '), '--help'];
  const said = execFileSync(process.execPath, [...program, ...args], { cwd: ROOT, encoding: 'utf8' });
  helps.set(command, said);
  return said;
}

/** The command, its action where it has some, and every flag stand in the help. */
function isCommand({ name }: Claim): boolean {
  const [command = '', word = ''] = name.split(' ');
  if (!new RegExp(`^ +carillon ${command}\\b`, 'm').test(help(''))) return false;
  const action = /^[a-z]+$/.test(word) ? word : '';
  const text = help(`${command} ${action}`.trim());
  const actions = [...(help('') + text).matchAll(new RegExp(`^ *carillon ${command} ([a-z]+)\\b`, 'gm'))];
  if (action !== '' && actions.length > 0 && !actions.some(([, each]) => each === action)) return false;
  return [...name.matchAll(/--[a-z][\w-]*/g)].every(([flag]) => text.includes(flag));
}

test('commands, their actions and flags', () => {
  assertAlive(commandsIn, isCommand, '`carillon docter`');
  assertAlive(commandsIn, isCommand, '`carillon keys burn`');
  assertAlive(commandsIn, isCommand, '`kubectl exec x -- node dist/cli.js doctor --jsno`');
  assert.deepEqual(unknown(commandsIn, isCommand), []);
});

test('paths of the server API and the admin API', () => {
  const { paths } = JSON.parse(read('docs/openapi.json')) as { readonly paths: object };
  const templates = Object.keys(paths).map((path) => path.split('/'));
  const fits = (given: readonly string[], template: readonly string[]): boolean =>
    given.every((part, at) => part === '…' || /^\{/.test(template[at] ?? '') || part === template[at]);
  const known: Rule = ({ name }) => {
    const given = name.replace(/[.…]+$/, (end) => (end.startsWith('…') ? '…' : '')).split('/');
    return templates.some((template) => template.length === given.length && fits(given, template));
  };
  assertAlive(pathsIn, known, 'GET /admin/v1/statistics');
  assert.deepEqual(unknown(pathsIn, known), []);
});

test('settings', () => {
  const paths = schemaPaths().map((path) => path.filter((part) => part !== '0'));
  const keys = new Set(paths.map((path) => path.join('.')));
  const sections = new Set(paths.filter(({ length }) => length > 1).map(([section = '']) => section));
  const find = (text: string) => keysIn(text, sections);
  const known: Rule = ({ name }) => keys.has(name);
  assertAlive(find, known, '`limits.conections: 5`');
  assert.deepEqual(unknown(find, known), []);
});

test('npm scripts', () => {
  const { scripts } = JSON.parse(read('package.json')) as { readonly scripts: object };
  const find = (text: string): readonly Claim[] =>
    codeOf(text).flatMap(({ name, line }) =>
      [...name.matchAll(/\bnpm run (?:--silent |-s )?([\w:-]+)/g)].map(([, script = '']) => ({
        name: script,
        line,
      })),
    );
  const known: Rule = ({ name }) => name in scripts;
  assertAlive(find, known, '`npm run bench:all`');
  assert.deepEqual(unknown(find, known), []);
});

test('files that are named or linked, and the headings of links', () => {
  const files = (text: string): readonly Claim[] =>
    codeOf(text).filter(({ name }) =>
      /^(?:src|test|config|docs|helm|loadtest|scripts|examples)\/[\w./-]+\.\w+$/.test(name),
    );
  const there: Rule = ({ name }) => existsSync(join(ROOT, name));
  assertAlive(files, there, '`src/none.ts`');
  assert.deepEqual(unknown(files, there), []);
  const broken = DOCUMENTS.flatMap(({ path, text }) =>
    linksIn(text)
      .filter(({ name }) => !leads(name, path))
      .map(({ name, line }) => `${path}:${line}: ${name}`),
  );
  assert.deepEqual(broken, []);
  assert.ok(leads('docs/transport.md', 'README.md') && !leads('docs/none.md', 'README.md'));
  assert.ok(!leads('alerts.md#nothing', 'docs/operations/tls.md'));
});

function leads(link: string, from: string): boolean {
  const [file = '', anchor] = link.split('#');
  const path = file === '' ? from : join(dirname(from), file);
  if (!existsSync(join(ROOT, path))) return false;
  return anchor === undefined || anchorsOf(read(path)).has(anchor);
}
