import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NATS_DEFAULTS } from '../../src/bus/nats/options.ts';
import { loadConfig } from '../../src/config.ts';

function natsOf(text: string, env: Record<string, string> = {}) {
  const result = loadConfig({ env, text });
  assert.ok(result.ok, JSON.stringify(result));
  return result.config.nats;
}

test('the defaults of the nats section are those of the bus', () => {
  const { servers, credentials, ...rest } = natsOf('nats: { url: "nats://127.0.0.1:4222" }') ?? assert.fail();
  assert.deepEqual(servers, ['nats://127.0.0.1:4222']);
  assert.deepEqual(credentials, {});
  assert.deepEqual(rest, NATS_DEFAULTS);
});

test('several servers: a list, or one text with commas, as a variable has it', () => {
  const both = ['nats://a:4222', 'tls://b:4223'];
  assert.deepEqual(natsOf('nats: { url: ["nats://a:4222", "tls://b:4223"] }')?.servers, both);
  assert.deepEqual(natsOf('', { CARILLON_NATS_URL: both.join(', ') })?.servers, both);
});

test('without a nats section there is none', () => {
  assert.equal(natsOf(''), undefined);
});
