/** The sorted list of members, held against the frames that it is made from. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Members, type Presence, type PresenceChange } from '../../src/client/members.ts';
import { Roster, type RosterChange, type RosterOptions } from '../../src/client/roster.ts';
import type { Member } from '../../src/protocol/frames.ts';
import { record, scripted, until } from './scripted.ts';

/** A room, as far as a roster sees it. */
class Source {
  readonly #known = new Members();
  readonly #listeners = new Set<(presence: Presence) => void>();

  get members() {
    return this.#known.all;
  }

  get count() {
    return this.#known.count;
  }

  get mode() {
    return this.#known.mode;
  }

  on(_name: 'presence', listener: (presence: Presence) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(change: PresenceChange): void {
    const news = this.#known.apply(change);
    const { all: members, count, mode } = this.#known;
    for (const listener of this.#listeners) listener({ members, count, mode, ...news });
  }
}

function member(user: string, connections = 1, info?: Member['info']): Member {
  return { user, connections, ...(info !== undefined && { info }) };
}

function rosterOf(options?: RosterOptions) {
  const source = new Source();
  const roster = new Roster(source, options);
  const told: string[] = [];
  for (const name of ['joined', 'left', 'updated'] as const)
    roster.on(name, ({ user, connections }) => told.push(`${name} ${user} ${connections}`));
  roster.on('reset', (members) => told.push(`reset ${members.map(({ user }) => user)}`));
  return { source, roster, told };
}

const users = (roster: Roster): string => [...roster].map(({ user }) => user).join(' ');

test('sorted by user; each change is told once, with what it was about', () => {
  const { source, roster, told } = rosterOf();
  const changes = record<RosterChange>((listener) => roster.on('change', listener));
  source.tell({ members: ['cid', 'ann', 'bob'].map((user) => member(user)), count: 3 });
  const before = roster.members;
  assert.equal(roster.members, before, 'the same array as long as nothing changes');
  source.tell({ mode: 'delta', joined: [member('abe'), member('bob', 2)], left: ['cid', 'eve'], count: 3 });
  source.tell({ mode: 'delta', joined: [member('bob', 2)], left: [], count: 3 });
  source.tell({ mode: 'delta', joined: [member('bob', 2, { away: true })], left: [], count: 3 });
  assert.deepEqual(told, [
    'reset ann,bob,cid',
    'left cid 1',
    'updated bob 2',
    'joined abe 1',
    'updated bob 2',
  ]);
  assert.equal(users(roster), 'abe ann bob');
  assert.deepEqual(
    before.map(({ user }) => user),
    ['ann', 'bob', 'cid'],
    'what was handed out stays',
  );
  assert.deepEqual(roster.get('bob')?.info, { away: true });
  const [first, second] = changes;
  assert.deepEqual(
    [first?.reset, second?.reset, second?.left.map(({ user }) => user)],
    [true, false, ['cid']],
  );
  roster.close();
  source.tell({ mode: 'delta', left: ['abe'], count: 2 });
  assert.equal(users(roster), 'abe ann bob');
});

test('what the server tells decides the mode: all, those known since, or a number', () => {
  const { source, roster, told } = rosterOf();
  const seen = () => [roster.mode, users(roster), roster.count];
  source.tell({ mode: 'full', members: [member('ann')], count: 1 });
  source.tell({ mode: 'delta', joined: [member('bob')], count: 2 });
  assert.deepEqual(seen(), ['full', 'ann bob', 2], 'changes of a whole list keep it whole');
  source.tell({ mode: 'count', count: 7000 });
  assert.deepEqual(seen(), ['count', '', 7000]);
  source.tell({ mode: 'delta', joined: [member('cid')], count: 4000 });
  assert.deepEqual(seen(), ['delta', 'cid', 4000]);
  source.tell({ mode: 'delta', count: 4500 });
  assert.deepEqual(seen(), ['delta', '', 4500], 'as a join is answered: whoever was known may have left');
  source.tell({ mode: 'full', members: [member('dan'), member('ann')], count: 2 });
  assert.deepEqual(seen(), ['full', 'ann dan', 2]);
  assert.deepEqual(told, ['reset ann', 'joined bob 1', 'reset ', 'joined cid 1', 'reset ', 'reset ann,dan']);
});

const user = fc.constantFrom(...'abcdefgh');
const some = fc.record({ user, connections: fc.integer({ min: 1, max: 3 }) }, { noNullPrototype: true });
const list = fc.uniqueArray(some, { selector: (one) => one.user, maxLength: 8 });
const change: fc.Arbitrary<PresenceChange> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ members: list }) },
  { weight: 1, arbitrary: fc.record({ count: fc.constant(9) }) },
  { weight: 6, arbitrary: fc.record({ joined: list, left: fc.uniqueArray(user, { maxLength: 4 }) }) },
);
/** Those with most connections first: the place of a member changes with it. */
const busiest = (one: Member, other: Member): number => other.connections - one.connections;

test('whatever comes: what the room knows, sorted, and the changes add up to it', () => {
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 40 }),
      fc.constantFrom(undefined, busiest),
      (changes, compare) => {
        const { source, roster } = rosterOf(compare && { compare });
        const replayed = new Map<string, Member>();
        roster.on('reset', (members) => {
          replayed.clear();
          for (const one of members) replayed.set(one.user, one);
        });
        roster.on('left', ({ user: gone }) => assert.ok(replayed.delete(gone)));
        roster.on('joined', (one) => {
          assert.ok(!replayed.has(one.user));
          replayed.set(one.user, one);
        });
        roster.on('updated', (one) => {
          assert.ok(replayed.has(one.user));
          replayed.set(one.user, one);
        });
        for (const each of changes) {
          source.tell(each);
          const byUser = [...source.members.values()].sort((a, b) => (a.user < b.user ? -1 : 1));
          assert.deepEqual(roster.members, compare ? byUser.sort(compare) : byUser);
          assert.deepEqual(replayed, new Map(source.members));
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('a room has rosters, over reconnects', async (t) => {
  const server = await scripted(t);
  const room = server.client().join('r', { presence: true });
  const peer = (await server.peer()).info();
  await peer.joins({ mode: 'full', members: [member('bob'), member('ann')], count: 2 });
  await room.whenJoined();
  const roster = room.roster();
  assert.equal(users(roster), 'ann bob', 'what is known already');
  const resets = record<readonly Member[]>((listener) => roster.on('reset', listener));
  peer.socket.terminate();
  const next = (await server.peer()).info();
  await next.joins({ recovered: 'full', mode: 'full', members: [member('cid')], count: 1 });
  await until(() => resets.length === 1, 'the list of the new join');
  assert.equal(users(roster), 'cid');
  assert.equal(room.mode, 'full');
});
