import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CURRENT, natsServer, WITHOUT_BATCH } from '../../support/nats/provide.ts';
import { fits } from '../../support/provide.ts';

test('versions are compared by their numbers', () => {
  assert.ok(fits('2.14.0', CURRENT));
  assert.ok(fits('2.100.1', CURRENT));
  assert.ok(!fits('2.9.10', CURRENT));
  assert.ok(!fits('3.0.0', CURRENT));
  assert.ok(fits('2.9.10', WITHOUT_BATCH));
  assert.ok(!fits('2.11.0', WITHOUT_BATCH));
});

test('the servers of the tests are what they should be', async () => {
  for (const wanted of [CURRENT, WITHOUT_BATCH]) assert.ok(fits((await natsServer(wanted)).version, wanted));
});
