/** The house rules, held by a test. Each rule is also shown to fail on a sample. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  bannedUses,
  bannedWords,
  cycles,
  largeFunctions,
  longFiles,
  strayModules,
  undocumented,
  unlocked,
  wrongDirections,
} from './support/rules.ts';
import { readSource, type Source } from './support/source.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** As in .gitignore, and what git keeps for itself. */
const NOT_OURS = new Set(['node_modules', 'dist', '.git', '.cache', '.bin', 'out', '.venv', '__pycache__']);
const BINARY = /\.(png|ico|woff2|gz|tgz|wasm|log)$/;

function* filesUnder(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (NOT_OURS.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesUnder(path);
    else if (entry.isFile() && !BINARY.test(entry.name)) yield path;
  }
}

function load(path: string): { path: string; text: string } {
  return { path: relative(ROOT, path).split(sep).join('/'), text: readFileSync(path, 'utf8') };
}

describe('the project', () => {
  const files = [...filesUnder(ROOT)].map(load);
  const typescript = files.filter(({ path }) => /^(src|test)\/.*\.ts$/.test(path));
  const sources = typescript
    .filter(({ path }) => path.startsWith('src/'))
    .map(({ path, text }) => readSource(path, text));

  test('there is something to look at', () => {
    assert.ok(sources.length > 50 && files.length > sources.length);
    assert.ok(sources.some(({ imports }) => imports.length > 3));
    assert.ok(sources.some(({ functions }) => functions.some(({ complexity }) => complexity > 3)));
  });
  test('imports go in one direction', () => assert.deepEqual(wrongDirections(sources), []));
  test('modules that belong to one place are imported only there', () =>
    assert.deepEqual(strayModules(sources), []));
  test('there are no import cycles, types included', () => assert.deepEqual(cycles(sources), []));
  test('files of src and test have at most 400 lines', () => assert.deepEqual(longFiles(typescript), []));
  test('functions have at most 50 lines and a complexity of 10', () =>
    assert.deepEqual(largeFunctions(sources), []));
  test('the domain has no clock, chance or timers; only main and cli touch the process; no any, no empty catch, no held iterator', () =>
    assert.deepEqual(bannedUses(sources), []));
  test('nothing unfinished is noted, and no package registry named, in any text file', () =>
    assert.deepEqual(bannedWords(files), []));
  test('docs/dependencies.md has a line for every dependency', () => {
    assert.deepEqual(undocumented(textOf('package.json'), textOf('docs/dependencies.md')), []);
  });

  test('the lock file holds every platform', () =>
    assert.deepEqual(unlocked(textOf('package-lock.json')), []));

  function textOf(path: string): string {
    const file = files.find((one) => one.path === path);
    assert.ok(file, `${path} is missing`);
    return file.text;
  }
});

/** One sample per call: path and text. */
function sample(path: string, text: string): Source {
  return readSource(path, text);
}

function complaints(rule: (sources: readonly Source[]) => string[], path: string, text: string): number {
  return rule([sample(path, text)]).length;
}

describe('the rules fail where they should', () => {
  test('direction', () => {
    const wrong: readonly [string, string][] = [
      ['src/protocol/a.ts', `import { b } from '../broker/b.ts';`],
      ['src/protocol/a.ts', `import type { B } from '../broker/b.ts';`],
      ['src/protocol/a.ts', `type B = import('../broker/b.ts').B;`],
      ['src/protocol/a.ts', `export * from '../broker/b.ts';`],
      ['src/protocol/a.ts', `const b = await import('../broker/b.ts');`],
      ['src/broker/commands/a.ts', `import { b } from '../../transport/b.ts';`],
      ['src/transport/a.ts', `import { b } from '../bus/b.ts';`],
      ['src/bus/memory/a.ts', `import { b } from '../nats/b.ts';`],
      ['src/bus/a.ts', `import { b } from './nats/b.ts';`],
      ['src/auth/a.ts', `import { b } from '../app.ts';`],
      ['src/app.ts', `import { b } from './main.ts';`],
      ['src/client/a.ts', `import { b } from '../broker/b.ts';`],
      ['src/ops/a.ts', `import { b } from '../../test/b.ts';`],
      ['src/elsewhere/a.ts', `import { b } from './b.ts';`],
    ];
    for (const [path, text] of wrong)
      assert.equal(complaints(wrongDirections, path, text), 1, `${path}: ${text}`);
    const right: readonly [string, string][] = [
      ['src/broker/a.ts', `import { b } from '../protocol/b.ts'; import { c } from './c.ts';`],
      ['src/transport/a.ts', `import { b } from '../broker/b.ts';`],
      ['src/bus/nats/a.ts', `import { b } from '../tail.ts';`],
      ['src/page/a.ts', `import { b } from '../client/index.ts';`],
      [
        'src/main.ts',
        `import { b } from './app.ts'; import { c } from './config.ts'; import fs from 'node:fs';`,
      ],
    ];
    for (const [path, text] of right)
      assert.equal(complaints(wrongDirections, path, text), 0, `${path}: ${text}`);
  });

  test('modules kept to one place', () => {
    const wrong: readonly [string, string][] = [
      ['src/app.ts', `import { App } from 'uWebSockets.js';`],
      ['src/bus/memory/a.ts', `import type { Msg } from '@nats-io/nats-core';`],
      ['src/transport/a.ts', `import process from 'node:process';`],
      ['src/broker/a.ts', `import { createHash } from 'node:crypto';`],
      ['src/client/a.ts', `import { readFile } from 'node:fs/promises';`],
    ];
    for (const [path, text] of wrong) assert.ok(complaints(strayModules, path, text) > 0, `${path}: ${text}`);
    assert.equal(complaints(strayModules, 'src/transport/a.ts', `import { App } from 'uWebSockets.js';`), 0);
    assert.equal(complaints(strayModules, 'src/main.ts', `import process from 'node:process';`), 0);
  });

  test('cycles', () => {
    const ring = [
      sample('src/broker/a.ts', `import type { B } from './b.ts';`),
      sample('src/broker/b.ts', `import { c } from './commands/c.ts';`),
      sample('src/broker/commands/c.ts', `export { a } from '../a.ts';`),
      sample('src/broker/d.ts', `import { a } from './a.ts';`),
    ];
    const path = 'src/broker/a.ts -> src/broker/b.ts -> src/broker/commands/c.ts -> src/broker/a.ts';
    assert.deepEqual(cycles(ring), [path]);
    assert.deepEqual(cycles(ring.slice(1)), []);
    assert.deepEqual(cycles([sample('src/broker/a.ts', `import { a } from './a.ts';`)]).length, 1);
  });

  test('length of files and functions', () => {
    const file = (lines: number): { path: string; text: string } => ({
      path: 'a.ts',
      text: 'x\n'.repeat(lines),
    });
    assert.deepEqual(longFiles([file(400)]), []);
    assert.equal(longFiles([file(401)]).length, 1);
    const body = (lines: number): string => `{\n${'work();\n'.repeat(lines - 2)}}`;
    for (const head of ['function f()', 'const f = () =>', 'const f = async function ()']) {
      assert.equal(complaints(largeFunctions, 'src/a.ts', `${head} ${body(50)}`), 0, head);
      assert.equal(complaints(largeFunctions, 'src/a.ts', `${head} ${body(51)}`), 1, head);
    }
    for (const member of ['m()', 'constructor()', 'get g()', 'f = () =>', '#p()']) {
      assert.equal(complaints(largeFunctions, 'src/a.ts', `class C { ${member} ${body(51)} }`), 1, member);
    }
  });

  test('complexity', () => {
    const complexity = (body: string): number | undefined =>
      sample('src/a.ts', `function f(a, b) { ${body} }`).functions[0]?.complexity;
    assert.equal(complexity(''), 1);
    assert.equal(complexity('if (a) b(); else if (b) a();'), 3);
    assert.equal(
      complexity('for (;;) {} for (const x of a) {} for (const x in a) {} while (a) {} do {} while (a)'),
      6,
    );
    assert.equal(complexity('switch (a) { case 1: case 2: break; default: }'), 3);
    assert.equal(complexity('try { a() } catch { b() } finally { a() }'), 2);
    assert.equal(complexity('return a ? b && a || b : a ?? b;'), 5);
    assert.equal(complexity('a ||= b; a = b; a += 1;'), 2);
    assert.equal(complexity('return a.map((x) => x ? 1 : 2);'), 1);
    assert.equal(complaints(largeFunctions, 'src/a.ts', `function f(a) { ${'if (a) a();'.repeat(9)} }`), 0);
    assert.equal(complaints(largeFunctions, 'src/a.ts', `function f(a) { ${'if (a) a();'.repeat(10)} }`), 1);
  });

  test('clocks, chance, timers and the process', () => {
    for (const text of [
      'Date.now()',
      'const f = Date.now',
      `Date['now']()`,
      'new Date()',
      'Math.random()',
      'setTimeout(f, 1)',
      'globalThis.setInterval(f, 1)',
      'const later = setImmediate',
      'performance.now()',
      'process.exit(1)',
      'const { env } = process',
      'const x = { process }',
      'globalThis.process.exit()',
    ]) {
      assert.equal(complaints(bannedUses, 'src/broker/a.ts', text), 1, text);
    }
    for (const text of [
      'new Date(5)',
      'clock.now()',
      'a.process()',
      'const x = { process: 1 }',
      '// Date.now()',
      '"Date.now()"',
    ]) {
      assert.equal(complaints(bannedUses, 'src/broker/a.ts', text), 0, text);
    }
    assert.equal(complaints(bannedUses, 'src/transport/a.ts', 'Date.now(); setTimeout(f, 1)'), 0);
    assert.equal(complaints(bannedUses, 'src/transport/a.ts', 'process.exit(1)'), 1);
    assert.equal(complaints(bannedUses, 'src/main.ts', 'process.exit(1)'), 0);
  });

  test('any, and catches that swallow', () => {
    for (const text of [
      'let a: any',
      'const a = b as any',
      'type A = Record<string, any[]>',
      'try { a() } catch {}',
      'try { a() } catch (error) { /* nothing */ }',
      'a().catch(() => {})',
    ]) {
      assert.equal(complaints(bannedUses, 'src/ops/a.ts', text), 1, text);
    }
    for (const text of [
      'let a: unknown',
      'try { a() } catch (e) { log(e) }',
      'a().catch((e) => log(e))',
      'const any = 1',
    ]) {
      assert.equal(complaints(bannedUses, 'src/ops/a.ts', text), 0, text);
    }
  });

  test('iterators that are held', () => {
    for (const text of [
      'class A { #round: Iterator<string>; }',
      'class A { readonly round = members.values(); }',
      'class A { start() { this.#round = this.#byKey.entries(); } }',
    ]) {
      assert.equal(complaints(bannedUses, 'src/broker/a.ts', text), 1, text);
    }
    for (const text of [
      'class A { #all = [...members.values()]; }',
      'const next = this.#byKey.keys().next().value',
      'class A { all(): Iterable<A> { return this.#byKey.values(); } }',
    ]) {
      assert.equal(complaints(bannedUses, 'src/broker/a.ts', text), 0, text);
    }
  });

  test('words', () => {
    const words = (text: string): number => bannedWords([{ path: 'README.md', text }]).length;
    for (const [head, tail] of [
      ['TO', 'DO'],
      ['FIX', 'ME'],
      ['XX', 'X'],
    ]) {
      assert.equal(words(`one\n// ${head}${tail}: later`), 1);
    }
    assert.equal(words(`see https://registry.${'npmjs'}.org/pino`), 1);
    assert.equal(words('todo lists, fixme not in capitals, XXXL'), 0);
  });

  test('dependencies without a line', () => {
    const json = JSON.stringify({ dependencies: { pino: '1' }, devDependencies: { '@x/y': '1' } });
    assert.deepEqual(undocumented(json, '| `pino` | logs |\n| `@x/y` | tests |'), []);
    assert.deepEqual(undocumented(json, '| `pino` | logs |\n@x/y is used by tests'), ['@x/y']);
  });

  test('a lock file without a platform', () => {
    const lock = (...names: string[]): string => {
      const a = { optionalDependencies: { '@a/linux': '1', '@a/darwin': '1' } };
      return JSON.stringify({
        packages: { 'node_modules/a': a, ...Object.fromEntries(names.map((name) => [name, {}])) },
      });
    };
    assert.deepEqual(unlocked(lock('node_modules/@a/linux', 'node_modules/a/node_modules/@a/darwin')), []);
    assert.equal(unlocked(lock('node_modules/@a/linux')).length, 1);
  });
});
