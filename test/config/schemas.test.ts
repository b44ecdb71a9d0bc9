/** Schemas of payloads in the settings: what is taken, what stops the start, what a check may cost. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { compileSchema } from '../../src/config/payload-schema.ts';
import { type Config, loadConfig, parsePolicy } from '../../src/config.ts';

const LIMITS = { bytes: 65_536, nodes: 250, steps: 20_000, samples: 20, sampleBytes: 256, tenants: 500 };

function compiled(schema: Record<string, unknown>, limits = LIMITS) {
  const made = compileSchema(schema, limits);
  assert.ok(made.ok, JSON.stringify(made));
  return made.check;
}

function problemOf(schema: Record<string, unknown>, limits = LIMITS): string {
  const made = compileSchema(schema, limits);
  assert.ok(!made.ok, JSON.stringify(schema));
  return made.problem;
}

function load(text: string, file?: string): Config {
  const result = loadConfig({ env: {}, text, ...(file && { file }) });
  assert.ok(result.ok, JSON.stringify(result));
  return result.config;
}

function refused(text: string): readonly [string, string] {
  const result = loadConfig({ env: {}, text });
  assert.ok(!result.ok && result.problems.length === 1, JSON.stringify(result));
  const [problem] = result.problems;
  return [String(problem?.key), String(problem?.expected)];
}

test('inline, with null as a value, and in a file beside the config', (t) => {
  const text =
    'rooms: [{ match: "**", schema: { mode: warn, inline: { type: object, properties: { a: { const: null } } } } }]';
  const [room] = load(text).rooms;
  assert.equal(room?.schema?.mode, 'warn');
  assert.equal(room?.schema?.check({ a: null }), undefined);
  assert.deepEqual(room?.schema?.check({ a: 0 }), { path: '/a', problem: 'must be equal to constant' });
  const folder = mkdtempSync(join(tmpdir(), 'carillon-schema-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'a.json'), JSON.stringify({ type: 'string' }));
  const file = join(folder, 'carillon.yaml');
  const tenants = 'tenants: { acme: { schemas: [{ match: "a:*", file: a.json, mode: enforce }] } }';
  const rule = load(tenants, file).tenants.named.get('acme')?.schemas?.[0];
  assert.deepEqual([rule?.mode, rule?.matches('a:b'), rule?.inline], ['enforce', true, { type: 'string' }]);
  assert.deepEqual(rule?.check(5), { path: '', problem: 'must be string' });
});

test('what is wrong stops the start, with the key and the reason', () => {
  const room = (schema: string) => refused(`rooms: [{ match: "**", schema: ${schema} }]`);
  const at = 'rooms[0].schema';
  const cases: readonly [string, string, RegExp][] = [
    ['{ mode: warn }', at, /exactly one of file and inline/],
    ['{ inline: {}, file: x }', at, /exactly one of/],
    ['{ file: missing.json }', `${at}.file`, /a readable file \(ENOENT\)/],
    ['{ file: package.json, inline: 5 }', `${at}.inline`, /a JSON Schema: an object/],
    ['{ file: README.md }', `${at}.file`, /not JSON/],
    ['{ inline: {}, mode: strict }', `${at}.mode`, /one of observe, warn, enforce/],
    ['{ inline: { type: strin } }', `${at}.inline`, /data\/type must be equal to one of/],
    ['{ inline: { typo: 1 } }', `${at}.inline`, /unknown keyword: "typo"/],
    ['{ inline: { properties: {} } }', `${at}.inline`, /missing type "object"/],
  ];
  for (const [schema, key, reason] of cases) {
    const [named, expected] = room(schema);
    assert.equal(named, key, schema);
    assert.match(expected, reason);
  }
  const [key] = refused('tenants: { acme: { schemas: [{ match: "**", inline: { type: x } }] } }');
  assert.equal(key, 'tenants.acme.schemas[0].inline');
});

test('what cannot be bounded is refused, and said why', () => {
  const nested = (levels: number): Record<string, unknown> =>
    levels === 0 ? { type: 'null' } : { allOf: [nested(levels - 1), nested(levels - 1)] };
  const defs = Object.fromEntries(
    Array.from({ length: 20 }, (_, at) => [
      `d${at}`,
      { allOf: [{ $ref: `#/$defs/d${at + 1}` }, { $ref: `#/$defs/d${at + 1}` }] },
    ]),
  );
  const cases: readonly [Record<string, unknown>, RegExp][] = [
    [{ type: 'string', pattern: '(?=a)b' }, /invalid or unsupported Perl syntax/],
    [{ type: 'string', pattern: '(a)\\1' }, /invalid escape sequence/],
    [{ type: 'string', pattern: '((a{100}){100}){100}' }, /invalid repeat count/],
    [{ type: 'string', format: 'email' }, /unknown format "email"/],
    [
      { type: 'object', properties: { child: { $ref: '#' } } },
      /refers to itself by # at \/properties\/child/,
    ],
    [{ $ref: 'https://example.com/schema' }, /only #\/… within the schema/],
    [{ $ref: '#/$defs/absent' }, /only #\/… within the schema/],
    [{ $dynamicRef: '#a' }, /\$dynamicRef/],
    [{ $async: true, type: 'string' }, /\$async/],
    [{ type: 'object', properties: { a: { $id: 'x' } } }, /\$id at \/properties\/a/],
    [{ type: 'array', uniqueItems: true }, /uniqueItems at \/ without maxItems/],
    [nested(8), /more than 250 subschemas/],
    [{ $defs: { ...defs, d20: { type: 'null' } }, $ref: '#/$defs/d0' }, /more than 250 subschemas/],
    [{ $schema: 'http://json-schema.org/draft-07/schema#' }, /no schema with key or ref/],
    [{ type: 'string', enum: ['x'.repeat(70_000)] }, /more than 65536 bytes/],
  ];
  for (const [schema, reason] of cases) assert.match(problemOf(schema), reason);
});

test('a schema may be compiled again, with the same $id, and by nobody is kept', () => {
  for (let at = 0; at < 3; at++) compiled({ $id: 'https://example.com/a', type: 'string' });
});

test('properties are own ones', () => {
  const check = compiled({
    type: 'object',
    required: ['toString'],
    additionalProperties: { type: 'number' },
  });
  assert.deepEqual(check({}), { path: '', problem: "must have required property 'toString'" });
  assert.equal(check({ toString: 1 }), undefined);
  assert.deepEqual(check(JSON.parse('{"toString":1,"__proto__":"x"}'))?.path, '/__proto__');
});

test('each pattern is itself, and linear', () => {
  const check = compiled({
    type: 'object',
    properties: { a: { type: 'string', pattern: '^(a+)+$' }, b: { type: 'string', pattern: '^b$' } },
  });
  assert.equal(check({ a: 'aaa', b: 'b' }), undefined);
  assert.equal(check({ a: 'b' })?.path, '/a');
  assert.equal(check({ b: 'a' })?.path, '/b');
  // RegExp would not come back from this before the test run is over.
  assert.equal(check({ a: `${'a'.repeat(60_000)}!` })?.path, '/a');
});

const many = Array.from({ length: 30_000 }, () => 1);
const among = (count: number, one: (at: number) => unknown) =>
  Array.from({ length: count }, (_, at) => one(at));

test('attack: payloads that take long are cut off by steps, whatever the keyword', () => {
  const each: readonly [Record<string, unknown>, unknown][] = [
    [
      { type: 'array', items: { anyOf: among(200, (at) => ({ type: 'number', const: 1 - (199 - at) })) } },
      many,
    ],
    [{ type: 'array', items: { oneOf: among(200, (at) => ({ type: 'number', minimum: at })) } }, many],
    [{ type: 'array', contains: { anyOf: among(200, () => ({ type: 'string' })) } }, many],
    [{ type: 'array', items: { not: { anyOf: among(200, () => false) } } }, many],
    [{ type: 'array', items: { not: { enum: among(2000, (at) => `e${at}`) } } }, many],
    [{ type: 'array', items: { $ref: '#/$defs/a' }, $defs: { a: { type: 'number' } } }, many],
    [{ anyOf: among(200, () => ({ type: 'string', minLength: 70_000 })) }, 'x'.repeat(60_000)],
    [{ anyOf: among(200, (at) => ({ type: 'string', pattern: `(x+x+)+y${at}` })) }, 'x'.repeat(60_000)],
    [
      {
        type: 'object',
        patternProperties: Object.fromEntries(
          among(200, (at) => [`^k${at}$`, { type: 'number' }]) as [string, unknown][],
        ),
      },
      Object.fromEntries(among(900, (at) => [`key-${at}`, 1]) as [string, unknown][]),
    ],
  ];
  for (const [schema, payload] of each) {
    const misfit = compiled(schema)(payload);
    assert.equal(
      misfit?.problem,
      'takes more than 20000 steps to check',
      JSON.stringify(schema).slice(0, 80),
    );
  }
  assert.equal(
    compiled({ type: 'array', items: { type: 'number' } }, LIMITS)(many.slice(0, 9_990)),
    undefined,
  );
});

test('with the steps counted a schema means what it means without', () => {
  const value = fc.jsonValue({ maxDepth: 3 });
  const part = fc.constantFrom<Record<string, unknown> | boolean>(
    { type: 'number', minimum: 0 },
    { type: 'string', pattern: '^[a-z]*$', maxLength: 5 },
    { type: 'array', items: { type: ['string', 'number'] }, uniqueItems: true, maxItems: 5 },
    { type: 'object', additionalProperties: { type: 'boolean' } },
    { const: null },
    { enum: [1, 'a', true, []] },
    { type: 'array', contains: { type: 'null' } },
    true,
    false,
  );
  const schema = fc.oneof(
    fc.record({ anyOf: fc.array(part, { minLength: 1, maxLength: 3 }) }),
    fc.record({ oneOf: fc.array(part, { minLength: 1, maxLength: 3 }) }),
    part.map((inner) => ({ not: inner })),
    fc.tuple(part, part).map(([items, then]) => ({ if: { type: 'array', items }, then, else: true })),
    part.map((inner) => ({ $defs: { a: inner }, allOf: [{ $ref: '#/$defs/a' }, true] })),
  );
  const plain = new Ajv2020({ strict: false, ownProperties: true });
  let fitted = 0;
  const property = fc.property(schema, value, (schema, value) => {
    const check = compiled(structuredClone(schema) as Record<string, unknown>);
    const expected = plain.compile(structuredClone(schema))(value);
    assert.equal(check(value) === undefined, expected);
    if (expected) fitted++;
  });
  fc.assert(property, { numRuns: 300 });
  assert.ok(fitted > 30 && fitted < 290, String(fitted));
});

test('a policy set at run time: inline only, judged as in the settings, the same after a round trip', () => {
  const inline = { type: 'object', required: ['id'] };
  const parsed = parsePolicy({ schemas: [{ match: 'a:*', mode: 'enforce', inline }] }, LIMITS);
  assert.ok(parsed.ok);
  const again = parsePolicy(JSON.parse(JSON.stringify(parsed.policy)), LIMITS);
  assert.ok(again.ok);
  assert.equal(again.policy.schemas?.[0]?.check({ id: 1 }), undefined);
  assert.equal(again.policy.schemas?.[0]?.check({})?.problem, "must have required property 'id'");
  const file = parsePolicy({ schemas: [{ match: '**', file: '/etc/passwd' }] }, LIMITS);
  assert.match(file.ok ? '' : file.problem, /schemas\.0\.file: files are for the settings/);
  const bad = parsePolicy({ schemas: [{ match: '**', inline: { type: 'x' } }] }, LIMITS);
  assert.match(bad.ok ? '' : bad.problem, /schemas\.0\.inline: the schema is refused/);
});
