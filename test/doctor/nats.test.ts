/** What the doctor says of a real nats-server, well and not. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { streamSettings } from '../../src/app/bus.ts';
import type { Finding } from '../../src/app/doctor/finding.ts';
import { nats } from '../../src/app/doctor/nats.ts';
import { applyStreams } from '../../src/bus/nats/apply.ts';
import { lookAtNats, type NatsLook } from '../../src/bus/nats/look.ts';
import type { Config } from '../../src/config.ts';
import { newPrefix } from '../support/nats/bus.ts';
import { NatsCluster } from '../support/nats/cluster.ts';
import { assertFixes, configOf, told } from './support.ts';

const quiet = (): void => undefined;
const LOG = { debug: quiet, info: quiet, warn: quiet, error: quiet };

let single: NatsCluster;
let three: NatsCluster;
before(async () => {
  [single, three] = await Promise.all([NatsCluster.start(1), NatsCluster.start(3)]);
});
after(() => Promise.all([single.close(), three.close()]));

function settings(cluster: NatsCluster, more: object = {}): Config {
  const small = { shards: 1, streamBytes: '16MiB', cursorBytes: '1MiB' };
  const text = {
    nats: { url: cluster.urls, prefix: newPrefix(), connectTimeoutMs: '500ms', ...small, ...more },
    usage: { bytes: '1MiB' },
    state: { bytes: '1MiB' },
  };
  return configOf(JSON.stringify(text));
}

async function doctor(config: Config): Promise<readonly Finding[]> {
  const findings = await nats(config, () => lookAtNats(streamSettings(config, LOG)));
  assertFixes(findings);
  return findings;
}

const worst = (findings: readonly Finding[], check: string) =>
  told(findings, check).map((line) => line.split(' ', 1)[0]);

test('streams: missing, made, changed by hand', async () => {
  const config = settings(single);
  const missing = await doctor(config);
  assert.match(told(missing, 'stream').join('\n'), /^ok \S+_0 is missing: the first broker makes it$/m);
  const strict = { ...config, nats: { ...config.nats, manageStreams: false } } as Config;
  assert.ok(worst(await doctor(strict), 'stream').every((status) => status === 'fail'));
  const { created } = await applyStreams(streamSettings(config, LOG));
  const good = await doctor(strict);
  assert.equal(told(good, 'stream').length, created.length);
  assert.ok(
    worst(good, 'stream').every((status) => status === 'ok'),
    JSON.stringify(good),
  );
  assert.match(told(good, 'clock').join(), /^ok this clock and that of NATS differ by \d+ ms$/);
  assert.deepEqual(worst(good, 'nats-copies'), ['warn']);
  const connection = await connect({ servers: single.urls });
  const manager = await jetstreamManager(connection);
  await manager.streams.update(created[0] ?? '', { max_age: 7200e9 });
  assert.match(
    told(await doctor(config), 'stream').join('\n'),
    /^warn \S+_0 keeps more than needed: max_age is 2h/m,
  );
  await manager.streams.update(created[0] ?? '', { max_age: 60e9, duplicate_window: 60e9 });
  await connection.close();
  assert.match(
    told(await doctor(config), 'stream').join('\n'),
    /^fail \S+_0: max_age is 1m, the settings say 10m/m,
  );
});

test('a cluster: three copies, then one server away, then two', async () => {
  const config = settings(three);
  await applyStreams(streamSettings(config, LOG));
  const good = await doctor(config);
  assert.match(told(good, 'stream').join('\n'), /^ok \S+_0: 3 copies, led by n[123]$/m);
  assert.deepEqual(worst(good, 'nats-copies'), []);
  const fewer = { ...config, nats: { ...config.nats, replicas: 1 } } as Config;
  assert.match(
    told(await doctor(fewer), 'stream').join('\n'),
    /^warn \S+_0 has 3 copies, and 1 are wanted$/m,
  );
  await three.server(2).kill();
  await three.server(1).kill();
  // Of three one is left: nobody answers for the streams.
  const bad = await doctor(config);
  assert.ok(
    bad.some(({ status }) => status === 'fail'),
    JSON.stringify(bad),
  );
});

test('a server without JetStream, or with too small messages', async (t) => {
  const plain = await NatsCluster.start(1, { jetstream: false, extra: 'max_payload: 8192' });
  t.after(() => plain.close());
  const findings = await doctor(settings(plain));
  assert.deepEqual([...worst(findings, 'jetstream'), ...worst(findings, 'nats-payload')], ['fail', 'fail']);
  assert.deepEqual(worst(await doctor(settings(plain, { coreOnly: true })), 'jetstream'), ['warn']);
});

test('credentials that are refused, and a clock that is wrong', async (t) => {
  const locked = await NatsCluster.start(1, { extra: 'authorization { token: right }' });
  t.after(() => locked.close());
  assert.match(told(await doctor(settings(locked, { token: 'wrong' })), 'nats').join(), /^fail .*cannot be/);
  const look: NatsLook = {
    server: 'n1',
    version: '2.15.2',
    clustered: true,
    withoutHistory: undefined,
    payload: { max: 2 ** 20, needed: 2 ** 17 },
    roundTripMs: 1,
    skewMs: -1500,
    streams: [],
  };
  const config = settings(single);
  assert.deepEqual(worst(await nats(config, async () => look), 'clock'), ['warn']);
  assert.deepEqual(worst(await nats(config, async () => ({ ...look, skewMs: 900 })), 'clock'), ['ok']);
});
