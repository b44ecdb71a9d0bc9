import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileAccess } from '../../../src/broker/access/access.ts';
import { type DryRunParts, dryRun } from '../../../src/broker/access/dry-run.ts';
import { explainAccess } from '../../../src/broker/access/explain.ts';
import { Gate } from '../../../src/broker/exclusion/gate.ts';
import { Policies, UNLIMITED } from '../../../src/broker/limits/policy.ts';
import { ACTIONS, type Action, type Identity, type Verdict } from '../../../src/broker/ports.ts';
import { compilePattern } from '../../../src/protocol/room.ts';
import { matches, room, rules, who } from './reference.ts';

test('the explanation is the decision, and the rule that it names decides by itself', () => {
  const kinds = new Map<string, number>();
  const property = fc.property(who, rules, room, fc.constantFrom(...ACTIONS), (who, rules, room, action) => {
    const { allowed, rule } = explainAccess(who, rules, false, action, room);
    assert.equal(allowed, compileAccess(who, rules).may(action, room));
    const kind = rule.kind === 'entry' ? rule.list : rule.kind;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    if (rule.kind !== 'entry') return;
    const entry = rule.list === 'claims' ? who.rooms[rule.index] : rules[rule.index];
    assert.equal(entry?.match, rule.match);
    assert.ok(matches(rule.match, who, room));
    assert.ok(matches(rule.substituted ?? rule.match, who, room), 'and so it does after substitution');
  });
  fc.assert(property, { numRuns: 5000 });
  const expected = [
    'claims',
    'echo',
    'foreign_inbox',
    'nothing_allows',
    'own_inbox',
    'policy.allow',
    'policy.deny',
  ];
  assert.deepEqual([...kinds.keys()].sort(), expected);
});

const DEFAULT_ROOMS = [{ match: 'public:*', allow: ['join'] }] as const;

function parts(verdict: Verdict): DryRunParts {
  const policies = new Policies(
    { ...UNLIMITED, rooms: [{ match: 'x:${sub}', allow: ['join'], deny: ['pub'] }] },
    new Map([
      ['off', { enabled: false }],
      ['mute', { presence: 'off' as const }],
    ]),
  );
  const rooms = ['public:**', 'x:**', 'mine'].map((match) => ({
    match,
    matches: compilePattern(match),
    overflow: 'skip' as const,
  }));
  const verifier = { known: () => verdict, verify: () => Promise.resolve(verdict) };
  const gate = new Gate({
    verifier,
    policies,
    openTicket: () => ({ ok: false, code: 'unauthorized', reason: '' }),
    exclusions: { of: () => undefined, ofIdentity: () => undefined, ofAddress: () => undefined },
    life: { tokenLifeMs: 3_600_000, clockToleranceSeconds: 0 },
    clock: Date,
  });
  return { gate, policies, rooms, defaultRooms: DEFAULT_ROOMS };
}

function ask(identity: Partial<Identity>, action: Action, room: string) {
  const verdict: Verdict = {
    ok: true,
    identity: { user: 'ann', tenant: 'default', rooms: DEFAULT_ROOMS, ...identity },
  };
  return dryRun(parts(verdict), { token: 't', action, room });
}

test('a bad token is the answer, with what is wrong with it', async () => {
  const reason = 'the token expired at 2026-01-01T00:00:00Z';
  const verdict = { ok: false, code: 'token_expired', reason } as const;
  const answer = await dryRun(parts(verdict), { token: 't', action: 'join', room: 'mine' });
  assert.deepEqual(answer, { decision: 'deny', rule: { kind: 'token' }, code: 'token_expired', reason });
});

test('names the list, the place and the pattern, as written and as filled', async () => {
  const allowed = await ask({}, 'join', 'public:a');
  assert.equal(allowed.decision, 'allow');
  assert.deepEqual(allowed.rule, { kind: 'entry', list: 'auth.defaultRooms', index: 0, match: 'public:*' });
  const claimed = await ask({ rooms: [...DEFAULT_ROOMS] }, 'join', 'public:a');
  assert.deepEqual(claimed.rule, { kind: 'entry', list: 'claims', index: 0, match: 'public:*' });
  const filled = { kind: 'entry', index: 0, match: 'x:${sub}', substituted: 'x:ann' };
  assert.deepEqual((await ask({}, 'join', 'x:ann')).rule, { ...filled, list: 'policy.allow' });
  const denied = await ask({ rooms: [{ match: '**', allow: ACTIONS }] }, 'pub', 'x:ann');
  assert.deepEqual([denied.decision, denied.code, denied.user], ['deny', 'forbidden', 'ann']);
  assert.deepEqual(denied.rule, { ...filled, list: 'policy.deny' });
  assert.match(
    denied.reason,
    /entry 0 of the tenant's policy \(rooms\) denies "pub" in x:\$\{sub\}, here x:ann/,
  );
});

test('says which placeholder could not be filled', async () => {
  const answer = await ask({ user: 'a:b' }, 'join', 'x:a:b');
  assert.deepEqual([answer.decision, answer.rule.kind], ['deny', 'nothing_allows']);
  assert.deepEqual(answer.unfilled, [{ list: 'policy', index: 0, match: 'x:${sub}', claims: ['sub'] }]);
});

test('what decides before access, and after it', async () => {
  const all = { rooms: [{ match: '**', allow: ACTIONS }] };
  const cases: readonly [Partial<Identity>, Action, string, string, string | undefined][] = [
    [{ ...all, tenant: 'off' }, 'join', 'mine', 'tenant_disabled', 'tenant_disabled'],
    [all, 'join', 'a b', 'room_name', 'bad_room'],
    [all, 'join', 'elsewhere', 'no_such_room', 'bad_room'],
    [{}, 'join', 'elsewhere', 'nothing_allows', 'forbidden'],
    [{}, 'pub', 'elsewhere', 'no_such_room', 'bad_room'],
    [{ ...all, tenant: 'mute' }, 'presence', 'mine', 'presence_off', 'forbidden'],
    [all, 'pub', '@echo', 'echo', undefined],
    [all, 'join', '@echo', 'echo', 'forbidden'],
    [all, 'join', '@bob', 'foreign_inbox', 'forbidden'],
  ];
  for (const [identity, action, room, kind, code] of cases) {
    const answer = await ask(identity, action, room);
    assert.deepEqual([answer.rule.kind, answer.code], [kind, code], `${action} ${room}`);
  }
});
