import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { REFRESH_OUTCOMES, TOKEN_REFUSALS, WEBHOOK_OUTCOMES } from '../../src/broker/identity-counts.ts';
import { REFUSAL_REASONS } from '../../src/broker/limits/reasons.ts';
import type { BusHealth } from '../../src/broker/ports.ts';

import { SCHEMA_OUTCOMES, SIGNAL_OUTCOMES, SLOW_OUTCOMES, Tally } from '../../src/broker/tally.ts';
import { createMetrics } from '../../src/ops/metrics.ts';
import { PAUSE_BOUNDS_MS } from '../../src/ops/process.ts';
import { CLOSE_CODES, ERROR_CODES } from '../../src/protocol/codes.ts';
import { type Family, parseExposition } from './exposition.ts';

const UP: BusHealth = { state: 'up', detail: '', figures: { history_bytes: 4096, dedupe_evicted: 7 } };

async function scrape(
  t: Tally,
  health: () => BusHealth = () => UP,
): Promise<(name: string) => number | undefined> {
  const metrics = createMetrics({ tally: t, bus: { kind: 'embedded', health }, version: '1.2.3' });
  try {
    const families = parseExposition(await metrics.text());
    return (key) => families.get(`carillon_${key.split('{', 1)[0]}`)?.samples.get(`carillon_${key}`);
  } finally {
    metrics.close();
  }
}

async function families(t = new Tally()): Promise<ReadonlyMap<string, Family>> {
  const metrics = createMetrics({ tally: t, bus: { kind: 'embedded', health: () => UP }, version: '1.2.3' });
  try {
    return parseExposition(await metrics.text());
  } finally {
    metrics.close();
  }
}

test('every plain count of the tally is exposed with its value', async () => {
  const t = new Tally();
  const fields = {
    connections: 'connections',
    memberships: 'memberships',
    rooms: 'rooms',
    messagesIn: 'messages_received_total',
    bytesIn: 'bytes_received_total',
    framesOut: 'frames_sent_total',
    bytesOut: 'bytes_sent_total',
    deliveries: 'deliveries_total',
    published: 'published_total',
    duplicates: 'duplicates_total',
    fairTurns: 'fair_turns_total',
    replayed: 'replayed_total',
    deferred: 'deferred_total',
    upgradesDeferred: 'upgrades_deferred_total',
    catchUps: 'catch_ups',
    catchUpBytes: 'catch_up_bytes_total',
    slowLooks: 'slow_looks_total',
    tarpitHeld: 'tarpit_held',
    socketsRefused: 'sockets_refused_total',
    tarpitted: 'tarpitted_total',
    compressed: 'compressed_total',
    compressedBytes: 'compressed_bytes_total',
    uncompressed: 'uncompressed_total',
    presenceNames: 'presence_others_names',
    presenceHashes: 'presence_others_hashes',
    presenceKept: 'presence_kept',
    signalSlots: 'ephemeral_slots',
    signalBytes: 'ephemeral_held_bytes',
  } as const;
  const numbers = Object.keys(t).filter(
    (key) => typeof t[key as keyof Tally] === 'number' && !key.endsWith('Ms'),
  );
  assert.deepEqual(
    numbers.sort(),
    Object.keys(fields).sort(),
    'a count of Tally is missing here, and maybe in the metrics',
  );
  Object.keys(fields).forEach((key, at) => {
    t[key as keyof typeof fields] = 100 + at;
  });
  const value = await scrape(t);
  Object.values(fields).forEach((name, at) => {
    assert.equal(value(name), 100 + at, name);
  });
});

test('labelled counts are exposed by label, the others of the closed set as 0', async () => {
  const t = new Tally();
  t.upgrade('accepted');
  t.upgrade('accepted');
  t.upgrade('bad_origin');
  t.close('normal');
  t.close('slow_consumer');
  t.error('bad_room');
  t.gap('backpressure');
  t.slowConsumer('demoted');
  t.signal('superseded');
  const value = await scrape(t);
  assert.equal(value('upgrades_total{outcome="accepted"}'), 2);
  assert.equal(value('upgrades_total{outcome="bad_origin"}'), 1);
  assert.equal(value('upgrades_total{outcome="draining"}'), 0);
  assert.equal(value('closes_total{reason="normal"}'), 1);
  assert.equal(value('closes_total{reason="slow_consumer"}'), 1);
  assert.equal(value('closes_total{reason="drain"}'), 0);
  assert.equal(value('errors_total{code="bad_room"}'), 1);
  assert.equal(value('gaps_total{reason="backpressure"}'), 1);
  assert.equal(value('slow_consumers_total{reason="demoted"}'), 1);
  assert.equal(value('slow_consumers_total{reason="dropped"}'), 0);
  assert.equal(value('ephemeral_total{outcome="superseded"}'), 1);
  assert.equal(value('ephemeral_total{outcome="sent"}'), 0);
});

test('tokens, key sets and the webhook', async () => {
  const t = new Tally();
  t.identity.refusal('signature');
  t.identity.refresh('timeout');
  t.identity.called('open');
  t.identity.webhookOpen = 1;
  t.identity.cached = 7;
  t.identity.verified = 8;
  t.identity.keySets.set('https://a.example url', { loadedAt: Date.now() - 5000, keys: 3 });
  const value = await scrape(t);
  assert.equal(value('token_refusals_total{reason="signature"}'), 1);
  assert.equal(value('token_refusals_total{reason="expired"}'), 0);
  assert.equal(value('jwks_refreshes_total{outcome="timeout"}'), 1);
  assert.equal(value('jwks_refreshes_total{outcome="ok"}'), 0);
  assert.equal(value('auth_webhook_calls_total{outcome="open"}'), 1);
  assert.equal(value('auth_webhook_open'), 1);
  assert.equal(value('tokens_cached_total'), 7);
  assert.equal(value('tokens_verified_total'), 8);
  assert.equal(value('jwks_keys{set="https://a.example url"}'), 3);
  const age = value('jwks_age_seconds{set="https://a.example url"}') ?? 0;
  assert.ok(age >= 5 && age < 60, String(age));
});

test('a second scrape gives the counts of then, not a sum of both', async () => {
  const t = new Tally();
  const metrics = createMetrics({ tally: t, bus: { kind: 'embedded', health: () => UP }, version: '1.2.3' });
  t.messagesIn = 5;
  t.error('internal');
  t.delivery.observe(1);
  await metrics.text();
  t.messagesIn = 6;
  const again = parseExposition(await metrics.text());
  metrics.close();
  assert.equal(
    again.get('carillon_messages_received_total')?.samples.get('carillon_messages_received_total'),
    6,
  );
  assert.equal(again.get('carillon_errors_total')?.samples.get('carillon_errors_total{code="internal"}'), 1);
  assert.equal(
    again.get('carillon_publish_deliver_seconds')?.samples.get('carillon_publish_deliver_seconds_count'),
    1,
  );
});

test('publish to deliver is a cumulative histogram in seconds', async () => {
  const t = new Tally();
  for (const ms of [0.1, 0.25, 0.3, 4, 4000]) t.delivery.observe(ms);
  const family = (await families(t)).get('carillon_publish_deliver_seconds');
  assert.equal(family?.type, 'histogram');
  const of = (suffix: string): number | undefined =>
    family?.samples.get(`carillon_publish_deliver_seconds${suffix}`);
  assert.equal(of('_bucket{le="0.00025"}'), 2);
  assert.equal(of('_bucket{le="0.0005"}'), 3);
  assert.equal(of('_bucket{le="0.0025"}'), 3);
  assert.equal(of('_bucket{le="0.005"}'), 4);
  assert.equal(of('_bucket{le="2.5"}'), 4);
  assert.equal(of('_bucket{le="+Inf"}'), 5);
  assert.equal(of('_count'), 5);
  assert.ok(Math.abs((of('_sum') ?? 0) - 4.00465) < 1e-9);
  assert.equal(
    [...(family?.samples.keys() ?? [])].filter((key) => key.includes('_bucket')).length,
    new Tally().delivery.boundsMs.length + 1,
  );
});

test('the figures of the bus carry its kind, and one that appears later is added', async () => {
  let health: BusHealth = UP;
  const metrics = createMetrics({
    tally: new Tally(),
    bus: { kind: 'nats', health: () => health },
    version: '1.2.3',
  });
  const first = parseExposition(await metrics.text());
  assert.equal(
    first.get('carillon_bus_history_bytes')?.samples.get('carillon_bus_history_bytes{bus="nats"}'),
    4096,
  );
  assert.equal(first.get('carillon_bus_history_bytes')?.type, 'gauge');
  assert.equal(first.get('carillon_bus_dedupe_evicted_total')?.type, 'counter');
  assert.equal(first.get('carillon_bus_state')?.samples.get('carillon_bus_state{bus="nats"}'), 2);
  health = {
    state: 'down',
    detail: 'no server',
    figures: { history_bytes: 1, dedupe_evicted: 7, reconnects: 3 },
  };
  const second = parseExposition(await metrics.text());
  metrics.close();
  assert.equal(
    second.get('carillon_bus_history_bytes')?.samples.get('carillon_bus_history_bytes{bus="nats"}'),
    1,
  );
  assert.equal(
    second.get('carillon_bus_reconnects_total')?.samples.get('carillon_bus_reconnects_total{bus="nats"}'),
    3,
  );
  assert.equal(second.get('carillon_bus_state')?.samples.get('carillon_bus_state{bus="nats"}'), 0);
});

const { delivery, acks, catchUpTurn } = new Tally();
const BOUNDS_MS = [delivery, acks, catchUpTurn].flatMap(({ boundsMs }) => boundsMs).concat(PAUSE_BOUNDS_MS);

const CLOSED_LABELS: Readonly<Record<string, readonly string[] | RegExp>> = {
  outcome: new RegExp(
    `^(accepted|bad_request|bad_version|bad_subprotocol|bad_origin|unauthorized|token_expired|forbidden|too_many|limited|overloaded|draining|timeout|unavailable|aborted|internal|${[...REFRESH_OUTCOMES, ...WEBHOOK_OUTCOMES, ...SCHEMA_OUTCOMES, ...SIGNAL_OUTCOMES].join('|')})$`,
  ),
  set: ['https://a.example url'],
  reason: [
    ...TOKEN_REFUSALS,
    ...Object.keys(CLOSE_CODES),
    ...[
      'normal',
      'going_away',
      'abnormal',
      'too_big',
      'other',
      'backpressure',
      'bus',
      'retention',
      'epoch',
      'encoding',
    ],
    ...SLOW_OUTCOMES,
    ...REFUSAL_REASONS,
  ],
  code: Object.keys(ERROR_CODES),
  bus: ['embedded', 'nats'],
  stage: ['before', 'after'],
  le: [...BOUNDS_MS.map((ms) => String(ms / 1000)), '+Inf'],
  version: ['1.2.3', process.version],
  mode: ['user', 'system'],
  kind: ['resident', 'heap_used', 'heap_total', 'external', 'minor', 'major', 'incremental', 'weakcb'],
  stat: ['p50', 'p99', 'max'],
};

test('every label has a closed set of values, whatever the tally was given', async () => {
  const t = new Tally();
  for (let i = 0; i < 1000; i++) t.gap(`room-${i}`);
  t.upgrade('x' as 'accepted');
  t.identity.refusal('x' as 'claims');
  t.identity.refresh('x' as 'ok');
  t.identity.called('x' as 'ok');
  t.identity.keySets.set('https://a.example url', { loadedAt: undefined, keys: 0 });
  t.close('y' as 'normal');
  t.error('z' as 'internal');
  t.refused('w' as 'unfair');
  t.signal('v' as 'sent');
  t.schemaCheck('warn', false, 12);
  const all = await families(t);
  let series = 0;
  for (const [name, family] of all) {
    assert.match(name, /^carillon_[a-z_]+$/);
    assert.match(family.help, /\w \w.*\.$/, `${name} has no useful help`);
    assert.equal(family.type === 'counter', name.endsWith('_total'), `${name} is a ${family.type}`);
    for (const key of family.samples.keys()) {
      series++;
      const [, label, value] = /\{(\w+)="(.*)"\}$/.exec(key) ?? [];
      if (label === undefined || value === undefined) continue;
      const closed = CLOSED_LABELS[label];
      assert.ok(closed, `${key}: the label ${label} is not known to this test`);
      assert.ok(closed instanceof RegExp ? closed.test(value) : closed.includes(value), key);
    }
  }
  assert.equal(all.get('carillon_gaps_total')?.samples.get('carillon_gaps_total{reason="other"}'), 1000);
  assert.ok(series < 280, `${series} series`);
});

test('each stream says what it has not answered, and how long the oldest has waited', async () => {
  const shards = [
    { unanswered: 3, lagMs: 0 },
    { unanswered: 70, lagMs: 1500 },
  ];
  const value = await scrape(new Tally(), () => ({ ...UP, shards }));
  assert.equal(value('bus_shard_unanswered{shard="0"}'), 3);
  assert.equal(value('bus_shard_unanswered{shard="1"}'), 70);
  assert.equal(value('bus_shard_lag_seconds{shard="1"}'), 1.5);
});

test('the process is described: memory, CPU, start, garbage collection', async () => {
  const value = await scrape(new Tally());
  const resident = value('process_memory_bytes{kind="resident"}') ?? 0;
  assert.ok(resident > 10e6 && resident < 10e9);
  assert.ok((value('process_cpu_seconds_total{mode="user"}') ?? 0) > 0);
  assert.ok(Math.abs((value('process_start_time_seconds') ?? 0) - Date.now() / 1000) < 600);
  assert.equal(value('build_info{version="1.2.3"}'), 1);
  assert.ok((value('gc_runs_total{kind="minor"}') ?? -1) >= 0);
});

test('runs of the garbage collector are counted', async () => {
  const metrics = createMetrics({
    tally: new Tally(),
    bus: { kind: 'embedded', health: () => UP },
    version: '1.2.3',
  });
  const waste = Array.from({ length: 200 }, () => new Array(20_000).fill(0).map((_, at) => ({ at })));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const gc = parseExposition(await metrics.text());
  metrics.close();
  assert.equal(waste.length, 200);
  assert.ok((gc.get('carillon_gc_runs_total')?.samples.get('carillon_gc_runs_total{kind="minor"}') ?? 0) > 0);
  assert.ok(
    (gc.get('carillon_gc_seconds_total')?.samples.get('carillon_gc_seconds_total{kind="minor"}') ?? 0) > 0,
  );
});

test('open and most file descriptors are those of the process', {
  skip: process.platform !== 'linux',
}, async () => {
  const before = (await scrape(new Tally()))('process_open_fds') ?? 0;
  const opened = Array.from({ length: 100 }, () => openSync('/dev/null', 'r'));
  const value = await scrape(new Tally());
  for (const fd of opened) closeSync(fd);
  const more = (value('process_open_fds') ?? 0) - before;
  assert.ok(more >= 95 && more <= 105, `${more} more`);
  const limit = execFileSync('sh', ['-c', 'ulimit -n']).toString().trim();
  assert.equal(value('process_max_fds'), limit === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limit));
});

test('a scrape without a free descriptor still answers', { skip: process.platform !== 'linux' }, () => {
  const module = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url));
  const script = `
    import { openSync } from 'node:fs';
    import { createMetrics } from ${module('ops/metrics.ts')};
    import { SLOW_OUTCOMES, Tally } from ${module('broker/tally.ts')};
    const bus = { kind: 'embedded', health: () => ({ state: 'up', detail: '', figures: {} }) };
    const metrics = createMetrics({ tally: new Tally(), bus, version: 'x' });
    await metrics.text();
    try { for (;;) openSync('/dev/null', 'r'); } catch (error) { console.log(error.code); }
    console.log(await metrics.text());
    process.exit(0);`;
  const output = execFileSync(
    'sh',
    ['-c', 'ulimit -n 64; exec "$0" --import tsx --input-type=module -e "$1"', process.execPath, script],
    { encoding: 'utf8' },
  );
  assert.match(output, /^EMFILE$/m);
  assert.match(output, /^carillon_process_open_fds \S+$/m);
  assert.match(output, /^carillon_connections 0$/m);
});

test('loop lag covers the time since the scrape before, and an idle loop has none', async () => {
  const metrics = createMetrics({
    tally: new Tally(),
    bus: { kind: 'embedded', health: () => UP },
    version: '1.2.3',
  });
  const lag = async (stat: string): Promise<number> =>
    parseExposition(await metrics.text())
      .get('carillon_loop_lag_seconds')
      ?.samples.get(`carillon_loop_lag_seconds{stat="${stat}"}`) ?? -1;
  await new Promise((resolve) => setTimeout(resolve, 50));
  const until = performance.now() + 300;
  while (performance.now() < until);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const busy = await lag('max');
  assert.ok(busy > 0.2 && busy < 2, `${busy} s`);
  assert.ok((await lag('max')) < busy, 'the second scrape starts anew');
  await new Promise((resolve) => setTimeout(resolve, 300));
  const idle = await lag('p50');
  assert.ok(idle >= 0 && idle < 0.1, `${idle} s`);
  metrics.close();
});
