/** Clause 7.10: schemas of rooms and of tenants, in their three modes, and what an administrator sees of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { both, type Client, fresh, metrics, suite } from './client.ts';

const ADMIN = 'an-admin-token-that-only-this-test-uses';
const inline = {
  type: 'object',
  required: ['id'],
  additionalProperties: false,
  properties: {
    id: { type: 'integer' },
    tags: { type: 'array', items: { type: 'string', pattern: '^[a-z]+$' } },
    note: { const: null },
  },
};
const slow = {
  type: 'array',
  items: { anyOf: Array.from({ length: 200 }, (_, at) => ({ type: 'number', const: -at })) },
};
const EVERYWHERE = [{ match: '**', allow: ['join', 'pub', 'history'] }];

const running = suite({
  env: { CARILLON_ADMIN_TOKEN: ADMIN },
  config: {
    rooms: [
      { match: 'observe:*', schema: { inline } },
      { match: 'warn:*', schema: { inline, mode: 'warn' }, history: { count: 10 } },
      { match: 'enforce:*', schema: { inline, mode: 'enforce' }, history: { count: 10 } },
      { match: 'slow', schema: { inline: slow, mode: 'enforce' } },
      { match: 'echo:*', schema: { inline, mode: 'warn' } },
      { match: '**' },
    ],
    tenants: {
      strict: { schemas: [{ match: 'observe:*', mode: 'enforce', inline: { type: 'string' } }] },
    },
  },
});

function connect(encoding: 'json' | 'msgpack', claims = {}): Promise<Client> {
  return running.connect({ encoding, claims: { sub: fresh('user'), rooms: EVERYWHERE, ...claims } });
}

const BAD: readonly [unknown, string, RegExp][] = [
  [5, '', /the payload must be object/],
  [{}, '', /must have required property 'id'/],
  [{ id: 'x' }, '/id', /\/id must be integer/],
  [{ id: 1, more: 1 }, '/more', /must NOT have additional properties/],
  [{ id: 1, tags: ['a', 'B'] }, '/tags/1', /\/tags\/1 must match pattern/],
  [{ id: 1, note: 0 }, '/note', /must be equal to constant/],
];

both(
  'C7.10 C4.11 enforce: what does not fit is refused with its place, and nobody gets it',
  async (encoding) => {
    const room = `enforce:${encoding}`;
    const [ann, bob] = [await connect(encoding), await connect(encoding)];
    await bob.join(room);
    for (const [payload, path, reason] of BAD) {
      const answer = await ann.ask({ type: 'pub', room, payload, msgId: 'm' }, 'error');
      assert.deepEqual(
        [answer.code, answer.path, answer.retry, answer.msgId],
        ['schema_violation', path, false, 'm'],
      );
      assert.match(answer.reason, reason);
    }
    await ann.pub(room, { id: 1, tags: ['ab'], note: null });
    await bob.expect('event', { payload: { id: 1, tags: ['ab'], note: null } });
  },
);

both('C7.10 C4.5 warn: accepted, and the ack says what would be refused', async (encoding) => {
  const ann = await connect(encoding);
  const ack = await ann.ask({ type: 'pub', room: 'warn:1', payload: { id: 'x' } }, 'ack');
  assert.deepEqual(ack.warning, { code: 'schema_violation', reason: '/id must be integer', path: '/id' });
  assert.equal((await ann.pub('warn:1', { id: 1 })).warning, undefined);
  // An ack that is held for its place in the room's order has it, too.
  await ann.join('echo:1');
  const held = await ann.ask({ type: 'pub', room: 'echo:1', payload: 1, echo: false }, 'ack');
  assert.equal(held.warning.path, '');
});

both('C7.10 observe: accepted as if there were no schema; a tenant may have its own', async (encoding) => {
  const ann = await connect(encoding);
  const ack = await ann.ask({ type: 'pub', room: 'observe:1', payload: 'text' }, 'ack');
  assert.equal(ack.warning, undefined);
  const eve = await connect(encoding, { tenant: 'strict' });
  await eve.pub('observe:1', 'text');
  await eve.refused({ type: 'pub', room: 'observe:1', payload: { id: 1 } }, 'schema_violation');
});

both('C7.10 attack: a payload made to take long is refused, and the node goes on', async (encoding) => {
  const ann = await connect(encoding);
  const payload = Array.from({ length: 20_000 }, () => 1);
  const answer = await ann.ask({ type: 'pub', room: 'slow', payload }, 'error');
  assert.deepEqual([answer.code, answer.path], ['schema_violation', '']);
  const many = Array.from({ length: 12_000 }, () => -199);
  const costly = await ann.ask({ type: 'pub', room: 'slow', payload: many }, 'error');
  assert.match(costly.reason, /takes more than 20000 steps/);
});

interface Listed {
  readonly violations: readonly Readonly<Record<string, unknown>>[];
  readonly missing: readonly string[];
}

async function violations(query: string): Promise<Listed> {
  const url = `${running.broker.adminUrl}/admin/v1/schema-violations?${query}`;
  const response = await fetch(url, { headers: { authorization: `Bearer ${ADMIN}` } });
  assert.equal(response.status, 200);
  return (await response.json()) as Listed;
}

test('C7.10 administrators read a sample of what did not fit; metrics count by mode', async () => {
  const tenant = fresh('tenant');
  const ann = await connect('json', { tenant, sub: 'ann' });
  const before = await metrics(running.broker);
  for (let at = 0; at < 30; at++) await ann.pub('observe:2', { id: `${at}${'x'.repeat(1000)}` });
  const { violations: found, missing } = await violations(`tenant=${tenant}&limit=100`);
  assert.deepEqual([found.length, missing], [20, []]);
  const [newest] = found;
  assert.deepEqual(
    [newest?.['room'], newest?.['user'], newest?.['match']],
    ['observe:2', 'ann', 'observe:*'],
  );
  assert.deepEqual([newest?.['mode'], newest?.['path']], ['observe', '/id']);
  assert.match(String(newest?.['payload']), /^\{"id":"29x+$/);
  assert.equal(String(newest?.['payload']).length, 256);
  assert.ok((await violations('limit=3')).violations.length === 3);
  const name = 'carillon_schema_checks_total{outcome="observe_violates"}';
  const after = await metrics(running.broker);
  assert.equal((after.get(name) ?? 0) - (before.get(name) ?? 0), 30);
});

test('C7.10 the server API is held to the same schemas', async () => {
  const token = await running.broker.token({ sub: 'backend', scope: 'api' });
  const publish = async (payload: unknown) => {
    const response = await fetch(`${running.broker.httpUrl}/api/v1/publish`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: JSON.stringify({ room: 'enforce:api', payload }),
    });
    return [response.status, ((await response.json()) as { code?: string }).code];
  };
  assert.deepEqual(await publish({ id: 'x' }), [422, 'schema_violation']);
  assert.deepEqual(await publish({ id: 1 }), [200, undefined]);
});
