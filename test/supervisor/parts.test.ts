/** The parts of the supervisor that need no process. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Readiness } from '../../src/ops/health.ts';
import { Instruments } from '../../src/ops/instruments.ts';
import { Backoff } from '../../src/supervisor/backoff.ts';
import { judgeWorkers, type WorkerView } from '../../src/supervisor/health.ts';
import { wholeLines } from '../../src/supervisor/lines.ts';
import { MergedMetrics } from '../../src/supervisor/merge.ts';

const SETTINGS = { restartMinMs: 100, restartMaxMs: 5000, healthyMs: 10_000 };

test('pauses double up to the longest, are cut by up to half, and begin anew after a healthy time', () => {
  const pauses = (random: number, served: readonly number[]) => {
    const backoff = new Backoff(SETTINGS, () => random);
    return served.map((servedMs) => backoff.pauseMs(servedMs));
  };
  assert.deepEqual(pauses(0, [0, 0, 9999, 0, 0, 0, 0, 0]), [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  assert.deepEqual(pauses(0.5, [0, 0]), [75, 150]);
  assert.deepEqual(pauses(0, [0, 0, 0, 10_000, 0]), [100, 200, 400, 100, 200]);
});

test('any history of ends gives pauses within the bounds', () => {
  const served = fc.array(fc.nat({ max: 20_000 }), { maxLength: 100 });
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(served, random, (ends, chance) => {
      const backoff = new Backoff(SETTINGS, () => chance);
      for (const end of ends) {
        const pause = backoff.pauseMs(end);
        assert.ok(pause >= 50 && pause <= 5000, `${pause}`);
      }
    }),
  );
});

function view(
  number: number,
  status: Readiness['status'] | undefined,
  extra: Partial<WorkerView> = {},
): WorkerView {
  const check = { ok: true, detail: 'up' };
  const readiness = status && { status, checks: { phase: check, loop: check, bus: check, settings: check } };
  return { number, state: 'serving', restartInMs: 0, readiness, silentMs: 100, ...extra };
}

const ended = (number: number) => view(number, undefined, { state: 'restarting', restartInMs: 1200 });
const status = (views: readonly WorkerView[], draining = false, started = true) =>
  judgeWorkers(views, draining, started).status;

test('ready while half of the workers are, and none is late', () => {
  assert.equal(status([view(1, 'ready'), view(2, 'ready')]), 'ready');
  assert.equal(status([view(1, 'ready'), ended(2)]), 'ready');
  assert.equal(status([view(1, 'ready'), ended(2), ended(3)]), 'degraded');
  assert.equal(status([ended(1), ended(2)]), 'degraded');
  assert.equal(status([view(1, 'ready'), view(2, 'overloaded'), view(3, 'ready')]), 'overloaded');
  assert.equal(
    status([view(1, 'ready'), view(2, 'ready', { silentMs: 4000 }), view(3, 'ready')]),
    'overloaded',
  );
  assert.equal(
    status([view(1, 'ready'), view(2, undefined, { state: 'starting' })], false, false),
    'starting',
  );
  assert.equal(status([view(1, 'ready')], true), 'draining');
  assert.equal(status([view(1, 'draining'), view(2, 'draining')]), 'draining');
  assert.equal(status([view(1, 'draining'), view(2, 'ready')]), 'ready');
});

test('each worker is named with what is the matter', () => {
  const { checks } = judgeWorkers(
    [view(1, 'ready'), ended(2), view(3, 'ready', { silentMs: 4000 })],
    false,
    true,
  );
  assert.deepEqual(
    Object.entries(checks).map(([name, { ok, detail }]) => `${name} ${ok} ${detail}`),
    ['worker-1 true ready, up, bus up', 'worker-2 false restarts in 2 s', 'worker-3 false no answer for 4 s'],
  );
});

test('lines of several processes do not mix, whatever the pieces', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.stringMatching(/^[a-z\n]{0,8}$/), { maxLength: 20 }), async (pieces) => {
      const chunks: string[] = [];
      const lines = Readable.from(pieces.map((piece) => Buffer.from(piece))).pipe(wholeLines());
      for await (const chunk of lines) chunks.push(String(chunk));
      const whole = pieces.join('');
      assert.equal(chunks.join(''), whole === '' || whole.endsWith('\n') ? whole : `${whole}\n`);
      assert.ok(chunks.every((chunk) => chunk.endsWith('\n')));
    }),
  );
  assert.equal(
    await text(Readable.from([Buffer.from('cut sh'), Buffer.from('ort')]).pipe(wholeLines())),
    'cut short\n',
  );
});

interface Figures {
  count: number;
  lag: number;
  up: number;
  open: number;
  buckets: number[];
}

function instruments(figures: Figures): Instruments {
  const made = new Instruments();
  made.counter('published_total', 'c', () => figures.count);
  made.counters('errors_total', 'c', 'code', () => ({ a: figures.count, b: 1 }));
  made.gauge('connections', 'g', () => figures.open);
  made.gauge('lag', 'g', () => figures.lag, 'max');
  made.gauges('state', 'g', 'bus', () => ({ local: figures.up }), 'min');
  made.histogram('seconds', 'h', [0.1, 1], () => ({ counts: figures.buckets, sum: figures.count }));
  return made;
}

function samples(exposition: string): Record<string, number> {
  const lines = exposition.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    lines.map((line) => [
      line.slice(0, line.lastIndexOf(' ')),
      Number(line.slice(line.lastIndexOf(' ') + 1)),
    ]),
  );
}

test('counters, histograms and loads are summed; the latest lag, the worst state', async () => {
  const merged = new MergedMetrics();
  merged.scraped(1, await instruments({ count: 5, lag: 0.2, up: 2, open: 7, buckets: [1, 2, 3] }).readings());
  merged.scraped(2, await instruments({ count: 3, lag: 0.9, up: 1, open: 4, buckets: [1, 0, 1] }).readings());
  const own = new Instruments();
  own.gauge('lag', 'g', () => 0.1, 'max');
  assert.deepEqual(samples(await merged.text(await own.readings())), {
    carillon_published_total: 8,
    'carillon_errors_total{code="a"}': 8,
    'carillon_errors_total{code="b"}': 2,
    carillon_connections: 11,
    carillon_lag: 0.9,
    'carillon_state{bus="local"}': 1,
    'carillon_seconds_bucket{le="0.1"}': 2,
    'carillon_seconds_bucket{le="1"}': 4,
    'carillon_seconds_bucket{le="+Inf"}': 8,
    carillon_seconds_sum: 8,
    carillon_seconds_count: 8,
  });
});

test('what an ended process had counted stays, what it held goes: no sum ever falls', async () => {
  const merged = new MergedMetrics();
  const read = async () => samples(await merged.text([]));
  const one = { count: 5, lag: 0.2, up: 2, open: 7, buckets: [1, 2, 3] };
  const scrape = async (worker: number, figures: Figures) =>
    merged.scraped(worker, await instruments(figures).readings());
  await scrape(1, one);
  await scrape(2, one);
  for (let round = 1; round <= 3; round++) {
    await merged.ended(2);
    await merged.ended(2);
    const without = await read();
    assert.equal(without['carillon_published_total'], 5 + 5 * round);
    assert.equal(without['carillon_seconds_count'], 6 + 6 * round);
    assert.equal(without['carillon_connections'], 7);
    await scrape(2, { ...one, open: 1 });
    const after = await read();
    assert.equal(after['carillon_published_total'], 10 + 5 * round);
    assert.equal(after['carillon_connections'], 8);
  }
});
