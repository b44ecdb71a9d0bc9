/** Session tokens that a real HTTP service vouches for: well, badly, or not at all. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createVerifier, type VerifierOptions } from '../../src/auth/verifier.ts';
import type { WebhookOptions } from '../../src/auth/webhook.ts';
import type { Verdict } from '../../src/broker/ports.ts';
import { FAILURES, type Issuer, issuer, json } from './issuer.ts';
import { around, forged, NOW, options, SECRET, TestClock, token } from './support.ts';

const CLAIMS = { sub: 'alice', exp: NOW + 3600 };

async function started(
  t: TestContext,
  answer: Issuer['answer'],
  changes: Partial<WebhookOptions> = {},
  more: Partial<VerifierOptions> = {},
) {
  const server = await issuer(t, answer);
  const clock = new TestClock();
  const watched = around(clock);
  const webhook: WebhookOptions = {
    url: server.url,
    secret: 'shared-with-the-service',
    timeoutMs: 1000,
    ttlMs: 60_000,
    bytes: 16_384,
    inFlight: 8,
    failures: 3,
    openMs: 5000,
    ...changes,
  };
  return { server, clock, watched, verifier: createVerifier(options({ webhook, ...more }), watched) };
}

const codeOf = (verdict: Verdict | undefined) => (verdict?.ok ? 'ok' : verdict?.code);

test('the service says who it is; its answer is kept for the ttl', async (t) => {
  const rooms = [{ match: 'chat:**', allow: ['join'] }];
  const { server, clock, verifier } = await started(t, json({ claims: { ...CLAIMS, tenant: 't', rooms } }));
  const verdict = await verifier.verify('opaque-1');
  assert.ok(verdict.ok, JSON.stringify(verdict));
  assert.deepEqual(verdict.identity, { user: 'alice', tenant: 't', exp: CLAIMS.exp, rooms });
  assert.deepEqual(server.asked, ['{"token":"opaque-1"}']);
  assert.equal(server.headers[0]?.authorization, 'Bearer shared-with-the-service');
  clock.ms += 59_999;
  assert.equal(verifier.known('opaque-1'), verdict);
  clock.ms += 1;
  assert.equal(verifier.known('opaque-1'), undefined);
  server.answer = json('', 401);
  assert.equal(codeOf(await verifier.verify('opaque-1')), 'unauthorized');
  assert.equal(server.asked.length, 2);
});

test('many connections with one token make one call', async (t) => {
  const { server, verifier } = await started(t, json({ claims: CLAIMS }));
  const verdicts = await Promise.all(Array.from({ length: 50 }, () => verifier.verify('opaque')));
  assert.ok(verdicts.every((verdict) => verdict.ok));
  assert.equal(server.asked.length, 1);
});

test('401 and 403 are verdicts, kept for ten seconds', async (t) => {
  const { server, clock, watched, verifier } = await started(t, (response, body) =>
    json('', body.includes('banned') ? 403 : 401)(response, body),
  );
  assert.equal(codeOf(await verifier.verify('stranger')), 'unauthorized');
  assert.equal(codeOf(await verifier.verify('banned')), 'forbidden');
  assert.equal(codeOf(verifier.known('banned')), 'forbidden');
  assert.equal(server.asked.length, 2);
  clock.ms += 10_000;
  assert.equal(verifier.known('banned'), undefined);
  assert.equal(watched.counts.webhook.get('refused'), 2);
  assert.equal(watched.counts.refusals.get('webhook_refused'), 3);
});

for (const [name, [failure, outcome]] of Object.entries(FAILURES)) {
  test(`the service fails with ${name}: nobody gets in for it, nobody is refused for good`, async (t) => {
    const { server, watched, verifier } = await started(t, failure);
    const verdict = await verifier.verify('opaque');
    assert.equal(codeOf(verdict), 'unavailable');
    assert.ok(!verdict.ok && (verdict.retryAfterMs ?? 0) > 0);
    assert.equal(
      watched.counts.webhook.get(outcome as 'status'),
      1,
      JSON.stringify([...watched.counts.webhook]),
    );
    server.answer = json({ claims: CLAIMS });
    assert.equal(codeOf(await verifier.verify('opaque')), 'ok', 'the failure is remembered');
  });
}

test('claims of the service are judged as those of a token', async (t) => {
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ sub: 'a' }, /no exp/],
    [{ sub: 'a', exp: NOW - 6 }, /expired/],
    [{ sub: 'a', exp: NOW + 60, nbf: NOW + 60 }, /not valid before/],
    [{ exp: NOW + 60 }, /no sub/],
    [{ sub: 'a', exp: NOW + 60, rooms: 'all' }, /rooms is not a list/],
    [{ sub: 'a', exp: NOW + 60, info: { pad: 'x'.repeat(2000) } }, /info is over/],
  ];
  for (const [claims, reason] of cases) {
    const { verifier } = await started(t, json({ claims }));
    const verdict = await verifier.verify('opaque');
    assert.ok(!verdict.ok);
    assert.match(verdict.reason, reason);
  }
});

test('the circuit opens after failures in a row, tries one call, and closes', async (t) => {
  const { server, clock, watched, verifier } = await started(t, json('', 500));
  for (let at = 0; at < 3; at++) await verifier.verify(`a${at}`);
  assert.deepEqual([server.asked.length, watched.counts.webhookOpen], [3, 1]);
  for (let at = 0; at < 20; at++) assert.equal(codeOf(await verifier.verify(`b${at}`)), 'unavailable');
  assert.equal(server.asked.length, 3, 'an open circuit lets calls through');
  assert.equal(watched.counts.webhook.get('open'), 20);
  clock.ms += 5000;
  await Promise.all(Array.from({ length: 5 }, (_, at) => verifier.verify(`c${at}`)));
  assert.equal(server.asked.length, 4, 'more than one trial call');
  clock.ms += 5000;
  server.answer = json({ claims: CLAIMS });
  assert.equal(codeOf(await verifier.verify('d')), 'ok');
  assert.equal(codeOf(await verifier.verify('e')), 'ok');
  assert.equal(watched.counts.webhookOpen, 0);
  assert.ok(watched.lines.some((line) => line.includes('answers again')));
});

test('a refusal by the service is no failure of it', async (t) => {
  const { server, verifier } = await started(t, json('', 401));
  for (let at = 0; at < 10; at++) assert.equal(codeOf(await verifier.verify(`a${at}`)), 'unauthorized');
  assert.equal(server.asked.length, 10);
});

test('calls at once are bounded', async (t) => {
  const held: ServerResponse[] = [];
  const { verifier, watched } = await started(t, (response) => void held.push(response), { timeoutMs: 5000 });
  const verdicts = Array.from({ length: 20 }, (_, at) => verifier.verify(`a${at}`));
  while (held.length < 8) await sleep(5);
  for (const response of held) json({ claims: CLAIMS })(response, '');
  const codes = (await Promise.all(verdicts)).map(codeOf);
  assert.deepEqual(
    ['ok', 'unavailable'].map((code) => codes.filter((each) => each === code).length),
    [8, 12],
  );
  assert.equal(watched.counts.webhook.get('full'), 12);
  assert.equal(held.length, 8);
});

test('attack: a JWT that is not good is not shown to the service, and never taken by its word', async (t) => {
  const { server, verifier } = await started(t, json({ claims: CLAIMS }));
  const bad = [
    forged({ alg: 'none' }, CLAIMS),
    `${forged({ alg: 'none' }, CLAIMS)}AAAA`,
    forged({ alg: 'HS256', kid: 'hmac' }, CLAIMS, 'eve'),
    forged({ alg: 'HS256', kid: 'other' }, CLAIMS, SECRET),
  ];
  // Without a signature it has not the form of a JWT: the service decides, as on any other text.
  assert.deepEqual((await Promise.all(bad.slice(1).map((text) => verifier.verify(text)))).map(codeOf), [
    'unauthorized',
    'unauthorized',
    'unauthorized',
  ]);
  assert.equal(server.asked.length, 0);
  assert.equal(codeOf(await verifier.verify(await token())), 'ok');
  for (const text of ['', 'a b', 'a\nb', 'ä', 'x'.repeat(5000)])
    assert.equal(codeOf(await verifier.verify(text)), 'unauthorized', JSON.stringify(text.slice(0, 9)));
  assert.equal(server.asked.length, 0);
});

test('no log line holds a session token or the secret of the service', async (t) => {
  const { verifier, watched } = await started(t, (response) => json('S3CRET-answer', 500)(response, ''));
  for (let at = 0; at < 5; at++) await verifier.verify(`S3CRET-token-${at}`);
  const all = watched.lines.join('\n');
  assert.match(all, /auth webhook failed/);
  assert.ok(!/S3CRET|shared-with-the-service/.test(all));
  assert.ok(!JSON.stringify(await verifier.verify('S3CRET-token-9')).includes('S3CRET'));
});

test('with a webhook and no key, JWTs are refused', async (t) => {
  const { verifier } = await started(t, json({ claims: CLAIMS }), {}, { keys: [] });
  assert.equal(codeOf(await verifier.verify(await token())), 'unauthorized');
});
