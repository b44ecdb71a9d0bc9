/**
 * `npm run freeze -- COMMIT`: builds the SDK and the broker of a former commit, and records a talk with that broker,
 * for test/compat. Needs the history of the repository, and packages that the former broker can run with.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { formerBroker } from '../test/compat/former.ts';
import { TALK_CONFIG, talk } from '../test/compat/talk.ts';
import { startBroker } from '../test/support/broker.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FIXTURES = fileURLToPath(new URL('../test/compat/fixtures/', import.meta.url));

async function bundle(from: string, entry: string, name: string, platform: 'node' | 'neutral'): Promise<void> {
  const { outputFiles } = await build({
    entryPoints: [join(from, entry)],
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform,
    target: platform === 'node' ? 'node20' : 'es2022',
    ...(platform === 'node' ? { packages: 'external' } : { external: ['msgpackr'] }),
  });
  const [file] = outputFiles;
  if (file === undefined) throw new Error(`nothing came of ${entry}`);
  writeFileSync(join(FIXTURES, `${name}.gz`), gzipSync(file.contents, { level: 9 }));
}

async function record(): Promise<void> {
  const broker = await startBroker({ config: TALK_CONFIG, program: formerBroker() });
  try {
    const steps = await talk(broker);
    writeFileSync(join(FIXTURES, 'talk.json'), `[\n${steps.map((step) => JSON.stringify(step)).join(',\n')}\n]\n`);
  } finally {
    await broker.stop();
  }
}

const [commit] = process.argv.slice(2);
if (commit === undefined) throw new Error('usage: npm run freeze -- COMMIT');
const folder = mkdtempSync(join(tmpdir(), 'carillon-freeze-'));
try {
  const archive = execFileSync('git', ['archive', commit, 'src', 'package.json'], { cwd: ROOT, maxBuffer: 1 << 28 });
  execFileSync('tar', ['-x', '-C', folder], { input: archive });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  await bundle(folder, 'src/client/index.ts', 'sdk.mjs', 'neutral');
  await bundle(folder, 'src/main.ts', 'broker.mjs', 'node');
  await record();
  const sha = execFileSync('git', ['rev-parse', commit], { cwd: ROOT, encoding: 'utf8' }).trim();
  writeFileSync(join(FIXTURES, 'COMMIT'), `${sha}\n`);
  process.stdout.write(`frozen: ${readFileSync(join(FIXTURES, 'COMMIT'), 'utf8')}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
