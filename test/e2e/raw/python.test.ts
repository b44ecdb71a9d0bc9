import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { withBroker } from '../../support/broker.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const WEBSOCKETS = 'websockets==15.0.1';
const VENV = join(ROOT, 'node_modules/.cache/carillon-python', WEBSOCKETS);
const PYTHON = join(VENV, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
const READY = join(VENV, 'installed');

/** A virtual environment with the one package, made once and kept with the other caches. */
async function python(): Promise<string> {
  if (existsSync(READY)) return PYTHON;
  try {
    await run('python3', ['-m', 'venv', '--clear', VENV]);
    await run(PYTHON, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', WEBSOCKETS]);
    await run(PYTHON, ['-c', `import websockets; open(${JSON.stringify(READY)}, 'w').close()`]);
    return PYTHON;
  } catch (error) {
    throw new Error(
      `this test needs python3 (3.9 or later) with venv and pip, able to install ${WEBSOCKETS}`,
      {
        cause: error,
      },
    );
  }
}

test('a Python client written from the specification joins, publishes, resumes and sees every event', async () => {
  const interpreter = await python();
  await withBroker({ env: { CARILLON_LOG_LEVEL: 'debug' } }, async (broker) => {
    const token = await broker.token({ sub: 'python' });
    const script = join(ROOT, 'test/e2e/raw/python_client.py');
    const { stdout } = await run(interpreter, [script, broker.url, token], { timeout: 30_000 });
    assert.match(stdout, /^done$/m);
  });
});
