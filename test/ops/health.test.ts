import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { judge, type Vitals } from '../../src/ops/health.ts';
import { RecentLag } from '../../src/ops/loop.ts';

const HEALTHY: Vitals = {
  phase: 'serving',
  loopLagMs: 2,
  loopLagLimitMs: 250,
  settings: { detail: '', conflict: undefined },
  bus: { state: 'up', detail: '', figures: {} },
};

test('ready while serving with the loop under its limit', () => {
  assert.equal(judge(HEALTHY).status, 'ready');
  assert.equal(judge({ ...HEALTHY, loopLagMs: 250 }).status, 'ready');
});

test('not ready while starting, while draining, and with the loop over its limit', () => {
  assert.equal(judge({ ...HEALTHY, phase: 'starting' }).status, 'starting');
  assert.equal(judge({ ...HEALTHY, phase: 'draining' }).status, 'draining');
  const overloaded = judge({ ...HEALTHY, loopLagMs: 251 });
  assert.equal(overloaded.status, 'overloaded');
  assert.equal(overloaded.checks.loop.ok, false);
});

test('draining is said even when the loop lags as well', () => {
  assert.equal(judge({ ...HEALTHY, phase: 'draining', loopLagMs: 9999 }).status, 'draining');
});

test('a bus that is degraded or down is shown, and takes no readiness away', () => {
  for (const state of ['degraded', 'down'] as const) {
    const verdict = judge({ ...HEALTHY, bus: { state, detail: 'reconnecting', figures: {} } });
    assert.equal(verdict.status, 'ready');
    assert.deepEqual(verdict.checks.bus, { ok: false, detail: `${state}: reconnecting` });
  }
});

test('other settings on other nodes are shown; those that would mix rooms take readiness away', () => {
  const shown = judge({
    ...HEALTHY,
    settings: { detail: 'limits.x is 1 here and 2 on b', conflict: undefined },
  });
  assert.equal(shown.status, 'ready');
  assert.deepEqual(shown.checks.settings, { ok: false, detail: 'limits.x is 1 here and 2 on b' });
  const mixing = judge({ ...HEALTHY, settings: { detail: 'd', conflict: 'rooms differ' } });
  assert.equal(mixing.status, 'degraded');
  assert.equal(mixing.checks.settings.detail, 'rooms differ');
});

function block(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

test('recent lag sees a loop that is held, remembers it for one more window, then forgets it', async () => {
  let now = 0;
  const lag = new RecentLag(() => now);
  await sleep(30);
  for (let i = 0; i < 3; i++) {
    block(300);
    await sleep(1);
  }
  await sleep(30);
  assert.ok(lag.p99Ms() > 250, `${lag.p99Ms()} ms`);
  now = 10_000;
  assert.ok(lag.p99Ms() > 250, 'the window that ends here is still judged');
  await sleep(100);
  assert.ok(lag.p99Ms() > 250, 'and is remembered during the next one');
  now = 20_000;
  lag.p99Ms();
  await sleep(100);
  assert.ok(lag.p99Ms() < 250, `${lag.p99Ms()} ms`);
  lag.close();
});
