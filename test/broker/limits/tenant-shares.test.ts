import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TenantShares } from '../../../src/broker/limits/tenant-shares.ts';
import type { RoomRef } from '../../../src/broker/ports.ts';
import { MemoryCursors } from '../../../src/bus/memory/cursors.ts';
import type { Position } from '../../../src/protocol/frames.ts';
import { roomRef } from '../../support/rooms.ts';

test('a tenant has as much as is left for all others, and a further one still finds some', () => {
  const shares = new TenantShares(100);
  const take = (tenant: string): number => {
    while (shares.check(tenant) === 'free') shares.add(tenant, 1);
    return shares.of(tenant);
  };
  assert.deepEqual(['a', 'b', 'c', 'd'].map(take), [50, 25, 13, 6]);
  assert.equal(shares.check('a'), 'over');
  assert.equal(shares.check('a', 8), 'full', 'nobody can have so much');
  shares.add('a', -50);
  assert.equal(shares.of('a'), 0);
  assert.equal(take('b'), 41, 'what is given back is free for all');
});

test("a tenant's flood of cursors pushes out its own, those not moved for longest first", () => {
  const cursors = new MemoryCursors(20);
  const at = (room: RoomRef, user: string): Position | undefined => {
    let found: Position | undefined;
    cursors.get(room, user, (cursor) => {
      found = cursor as Position | undefined;
    });
    return found;
  };
  const quiet = roomRef('room', undefined, 'quiet');
  const greedy = roomRef('room', undefined, 'greedy');
  const position = { epoch: 'e', seq: 1 };
  cursors.put(quiet, 'ann', position);
  for (let n = 0; n < 100; n++) cursors.put(greedy, `user${n}`, position);
  assert.deepEqual(at(quiet, 'ann'), position);
  assert.deepEqual(at(greedy, 'user99'), position);
  assert.equal(at(greedy, 'user80'), undefined);
  assert.deepEqual(at(greedy, 'user81'), position);
  cursors.put(quiet, 'bob', position);
  assert.deepEqual(
    [at(quiet, 'ann'), at(quiet, 'bob')],
    [position, position],
    'who has few takes from who has many',
  );
  assert.equal(at(greedy, 'user81'), undefined);
});
