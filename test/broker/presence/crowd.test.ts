/** The small version of `npm run simulate:presence`: a crowd over many nodes, loss and restarts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CROWD, crowd } from './crowd.ts';

const SEED = 1;

test(`10,000 members over 12 nodes, a fifth of them on two, seed ${SEED}: counts within the stated error`, (t) => {
  const settings = { ...CROWD.settings, sketch: 256 };
  const result = crowd({
    ...CROWD,
    seed: SEED,
    settings,
    members: 10_000,
    nodes: 12,
    overlap: 0.2,
    seconds: 15,
    churn: 50,
  });
  t.diagnostic(JSON.stringify(result));
  const bound = (3 * 1.3) / Math.sqrt(settings.sketch);
  assert.ok(result.worstAfter < bound, `${result.worstAfter} one heartbeat after the last loss`);
  assert.ok(result.worstDuring < bound, `${result.worstDuring} while messages are lost`);
  assert.equal(result.counts.length, 1, `all agree: ${result.counts}`);
  assert.equal(result.names, 0, 'no names of others are kept');
  assert.ok(result.hashes <= 11 * settings.sketch, `${result.hashes} hashes of 11 others`);
  assert.equal(result.restarts, 1);
});
