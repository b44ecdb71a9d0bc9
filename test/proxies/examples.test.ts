/** What can be said of the shipped files without running them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const UNIT = `${ROOT}config/systemd/carillon.service`;
const read = (path: string) => readFileSync(ROOT + path, 'utf8');

function defaults() {
  const result = loadConfig({ env: {}, openFiles: 20_000 });
  assert.ok(result.ok);
  return result.config;
}

test('each proxy waits for at least two pings', () => {
  const timeouts = {
    'nginx.conf': /proxy_read_timeout (\d+)s;/,
    'haproxy.cfg': /timeout tunnel (\d+)s/,
    'envoy.yaml': /stream_idle_timeout: (\d+)s/,
  };
  for (const [file, pattern] of Object.entries(timeouts)) {
    const seconds = Number(pattern.exec(read(`config/proxies/${file}`))?.[1]);
    assert.ok(seconds >= 2 * defaults().heartbeat.pingSeconds, `${file}: ${seconds} s`);
  }
});

test('the files of Traefik are YAML, and pass WebSockets to the broker', () => {
  const fixed = parse(read('config/proxies/traefik.yaml'));
  const { http } = parse(read('config/proxies/traefik-dynamic.yaml'));
  assert.deepEqual(http.routers.carillon.entryPoints, Object.keys(fixed.entryPoints));
  assert.ok(http.services[http.routers.carillon.service]);
});

test('every file is in the manual', () => {
  const manual = read('docs/operations/proxies.md');
  const missing = readdirSync(`${ROOT}config/proxies`).filter((file) => !manual.includes(`\`${file}\``));
  assert.deepEqual(missing, []);
});

test('the unit leaves the drain its time, and what the shutdown may take beside it', () => {
  const unit = readFileSync(UNIT, 'utf8');
  const seconds = Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1]);
  const slackMs = Number(/SHUTDOWN_SLACK_MS = (\d+)/.exec(read('src/main.ts'))?.[1]);
  assert.ok(seconds * 1000 > defaults().drain.deadlineMs + slackMs, `${seconds} s`);
  assert.match(unit, /^RestartPreventExitStatus=64 78$/m);
});

const ANALYZE = '/usr/bin/systemd-analyze';

test('systemd takes the unit', { skip: !existsSync(ANALYZE) && 'there is no systemd here' }, (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-unit-'));
  t.after(() => rmSync(folder, { recursive: true }));
  // It looks whether the program is there: the one that is.
  const unit = readFileSync(UNIT, 'utf8').replace('/usr/bin/node', process.execPath);
  writeFileSync(join(folder, 'carillon.service'), unit);
  const args = ['verify', join(folder, 'carillon.service')];
  assert.equal(execFileSync(ANALYZE, args, { stdio: 'pipe', encoding: 'utf8' }), '');
});
