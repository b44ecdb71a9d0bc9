/** When the connection counts as weak: the meter alone, and told by a server that does what the test says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Quality, QualityOptions, RoomEvents } from '../../src/client/index.ts';
import { QualityMeter, qualityLimits } from '../../src/client/quality.ts';
import { event, record, scripted, until } from './scripted.ts';

function meterOf(options: QualityOptions = {}) {
  const told: string[] = [];
  const meter = new QualityMeter(
    qualityLimits(options),
    ({ level, causes }) => told.push(`${level} ${causes}`),
    () => performance.now(),
  );
  return { meter, told };
}

/** What came, in words; and what is there now. */
function words(qualities: readonly Quality[]): string[] {
  return qualities.map(({ level, causes }) => [level, ...causes].join(' '));
}

function healthy(qualities: readonly Quality[]): boolean {
  return qualities.at(-1)?.level === 'healthy';
}

test('two long round trips in a row are weak, one is not; only a short one ends it', () => {
  const { meter, told } = meterOf();
  assert.deepEqual(meter.quality, { level: 'healthy', causes: [] });
  for (const ms of [1000, 999, 1000]) meter.roundTrip(ms);
  assert.deepEqual(told, []);
  for (const ms of [1000, 501, 1500, 700]) meter.roundTrip(ms);
  assert.deepEqual(told, ['weak latency']);
  meter.roundTrip(500);
  assert.deepEqual(told, ['weak latency', 'healthy ']);
  meter.stop();
});

test('a new connection is measured anew; a loss holds for a while after it, a planned one does not', async () => {
  const { meter, told } = meterOf({ holdMs: 40 });
  meter.roundTrip(2000);
  meter.roundTrip(2000);
  meter.silence(true);
  meter.lost(true);
  meter.opened();
  meter.roundTrip(2000);
  assert.deepEqual(told.splice(0), ['weak latency', 'weak silence,latency', 'weak lost', 'healthy ']);
  meter.lost(true);
  meter.lost(false);
  meter.opened();
  assert.deepEqual(told.splice(0), ['weak lost']);
  await sleep(80);
  assert.deepEqual(told, ['healthy ']);
});

test('slow holds from the last notice on; after stop nothing is told', async () => {
  const { meter, told } = meterOf({ holdMs: 100 });
  meter.slow();
  await sleep(60);
  meter.slow();
  await sleep(60);
  assert.deepEqual(told, ['weak slow']);
  await sleep(80);
  assert.deepEqual(told, ['weak slow', 'healthy ']);
  meter.slow();
  meter.stop();
  await sleep(150);
  assert.deepEqual(told, ['weak slow', 'healthy ', 'weak slow']);
  meter.silence(true);
  assert.equal(told.length, 3);
});

test('thresholds that exclude one another are refused', async (t) => {
  const server = await scripted(t);
  assert.throws(
    () => server.client({ quality: { weakRttMs: 100 } }),
    /healthyRttMs \(500\) is over .* \(100\)/,
  );
});

test('a ping without an answer is silence, anything that comes ends it', async (t) => {
  const server = await scripted(t);
  const client = server.client({ quality: { silenceMs: 50, holdMs: 50 }, pingMs: 20 });
  const qualities = record<Quality>((listener) => client.on('quality', listener));
  const peer = (await server.peer()).info();
  await client.whenOpen();
  await sleep(150);
  assert.deepEqual(qualities, []);
  peer.answersPings = false;
  await until(() => qualities.length === 1, 'silence');
  assert.deepEqual(client.quality, { level: 'weak', causes: ['silence'] });
  peer.send({ type: 'ticket', ticket: 'x', ticketTtl: 1 });
  await until(() => qualities.length >= 2, 'noise');
  assert.deepEqual(words(qualities).slice(0, 2), ['weak silence', 'healthy']);
});

test('a long round trip is measured again soon', async (t) => {
  const server = await scripted(t);
  // Any round trip is long here, and the server pings every 60 s.
  const client = server.client({ quality: { weakRttMs: 0, healthyRttMs: 0 } });
  const qualities = record<Quality>((listener) => client.on('quality', listener));
  (await server.peer()).info({ heartbeat: 60 });
  await until(() => qualities.length === 1, 'the second measurement');
  assert.deepEqual(words(qualities), ['weak latency']);
});

test('a lost connection is weak until some time after the next; a drain only meanwhile', async (t) => {
  const server = await scripted(t);
  const client = server.client({ quality: { holdMs: 60 } });
  const qualities = record<Quality>((listener) => client.on('quality', listener));
  (await server.peer()).info().socket.terminate();
  const second = (await server.peer()).info();
  await client.whenOpen();
  assert.deepEqual(words(qualities), ['weak lost']);
  await until(() => qualities.length === 2, 'healthy');
  second.send({ type: 'drain', reason: 'deploy', retryAfterMs: 5 });
  second.socket.close(4200, 'deploy');
  (await server.peer()).info();
  await client.whenOpen();
  assert.deepEqual(words(qualities), ['weak lost', 'healthy', 'weak lost', 'healthy']);
});

test('what the server tells of slow reading: gaps, an unasked caught_up, the end of the connection before', async (t) => {
  const server = await scripted(t);
  const client = server.client({ quality: { holdMs: 30 } });
  const room = client.join('r', { since: { last: 5 } });
  const caughtUp = record<RoomEvents['caughtUp']>((listener) => room.on('caughtUp', listener));
  const qualities = record<Quality>((listener) => client.on('quality', listener));
  const peer = (await server.peer()).info();
  await peer.joins({ seq: 0 });
  peer.send({ type: 'caught_up', room: 'r', seq: 0 });
  await until(() => caughtUp.length === 1, 'caught up');
  assert.deepEqual(qualities, [], 'the answer to a join with since says nothing');
  const slow = async (what: string): Promise<void> => {
    await until(() => qualities.length === 2, what);
    assert.deepEqual(words(qualities.splice(0)), ['weak slow', 'healthy'], what);
  };
  peer.send(event(1), { type: 'caught_up', room: 'r', seq: 1 });
  await slow('an unasked caught_up');
  assert.deepEqual(caughtUp, [
    { seq: 0, slow: false },
    { seq: 1, slow: true },
  ]);
  peer.send({ type: 'gap', room: 'r', from: 1, to: 4, reason: 'retention', action: 'skip' });
  peer.send({ type: 'gap', room: 'r', from: 4, to: 9, reason: 'backpressure', action: 'skip' });
  await slow('a gap');
  peer.socket.close(4102, 'slow');
  const next = (await server.peer()).info();
  await next.joins({ seq: 9, recovered: 'full' });
  await until(() => healthy(qualities), 'healthy again');
  assert.equal(words(qualities)[0], 'weak slow', 'before the loss itself');
  qualities.splice(0);
  // A slow reader may never see its 4102: the next server_info says it.
  next.socket.terminate();
  (await server.peer()).info({ resumed: true, last: { code: 4102, reason: 'slow', at: 1 } });
  await until(() => healthy(qualities), 'healthy again');
  assert.ok(words(qualities).includes('weak lost slow'), words(qualities).join());
});
