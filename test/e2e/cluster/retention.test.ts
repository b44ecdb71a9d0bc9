/** A change of retention and its rollback, with brokers and the command that the chart's Job runs. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { startBroker } from '../../support/broker.ts';
import { newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';

let nats: NatsCluster;
const folder = mkdtempSync(join(tmpdir(), 'carillon-retention-'));

before(async () => {
  nats = await NatsCluster.start(1);
});
after(async () => {
  rmSync(folder, { recursive: true, force: true });
  await nats.close();
});

function settings(prefix: string, count: number, age: string) {
  return {
    nats: { url: nats.urls, prefix, shards: 1, streamBytes: '64MiB', manageStreams: false },
    rooms: [{ match: '**', history: { count, bytes: '1MiB', age } }],
    lifecycle: { enabled: true, ageMs: age === '1h' ? '2d' : '1d' },
    usage: { age: age === '1h' ? '60d' : '40d' },
  };
}

async function apply(config: object, ...flags: string[]): Promise<string> {
  const file = join(folder, 'carillon.yaml');
  writeFileSync(file, JSON.stringify(config));
  const args = ['dist/cli.js', 'streams', 'apply', '--config', file, ...flags];
  const env = { PATH: process.env['PATH'], CARILLON_JWT_SECRET: 'x'.repeat(48) };
  return (await promisify(execFile)(process.execPath, args, { env })).stdout;
}

test('more retention, then a rollback: brokers of both settings serve, and the streams stay wide', async () => {
  const prefix = newPrefix();
  const [old, wide] = [settings(prefix, 100, '10m'), settings(prefix, 1000, '1h')];
  assert.match(await apply(old), /^created: /);
  const first = await startBroker({ config: old });
  try {
    assert.match(await apply(wide), /^updated: .*_0.*_USAGE.*_LIFECYCLE/m);
    const upgraded = await startBroker({ config: wide });
    await upgraded.kill();
    const says = await apply(old);
    assert.match(says, /^left wider: \S+_0: max_age is 1h, the settings say 10m; --narrow would drop: /m);
    assert.match(says, /^left wider: \S+_USAGE: max_age is 60d, the settings say 40d; /m);
    const back = await startBroker({ config: old });
    const [ready, metrics] = await Promise.all(
      ['readyz', 'metrics'].map((path) => fetch(`${back.adminUrl}/${path}`)),
    );
    assert.equal(ready?.status, 200);
    assert.match(String(await metrics?.text()), /^carillon_bus_wider_streams\{bus="nats"\} 3$/m);
    assert.ok(back.logs.some((line) => line.includes('max_age is 1h, the settings say 10m')));
    await back.kill();
    assert.match(
      await apply(old, '--narrow'),
      /^narrowed: \S+_0: max_age was 1h, the settings say 10m; dropped: /m,
    );
    await assert.rejects(startBroker({ config: wide }), /max_age is 10m, the settings say 1h/);
  } finally {
    await first.kill();
  }
});
