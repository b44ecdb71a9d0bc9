/** Limits of connections and tenants, on a whole node with a clock that the test turns. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorFrame, ServerFrame } from '../../../src/protocol/frames.ts';
import { LIMITS } from '../../support/limits.ts';
import { SimNode, type SimSocket } from '../../support/sim.ts';

function errors(socket: SimSocket): ErrorFrame[] {
  return socket.take().filter((frame): frame is ErrorFrame => frame.type === 'error');
}

function only(frames: readonly ServerFrame[], type: ServerFrame['type']): number {
  return frames.filter((frame) => frame.type === type).length;
}

const identity = (user: string) => ({ user, tenant: 'default', rooms: [] });

test('points of a connection: refused with limit and time, regained at the rate, counted', () => {
  const operations = { ...LIMITS.operations, perSecond: 10, burst: 20, costPublish: 2 };
  const node = new SimNode({ limits: { operations } });
  const socket = node.connect('ann');
  for (let at = 0; at < 11; at++) socket.write({ type: 'pub', room: 'a', payload: at, id: at });
  node.settle();
  const frames = socket.take();
  assert.equal(only(frames, 'ack'), 10);
  const refused = frames.find((frame) => frame.type === 'error');
  assert.deepEqual(refused, {
    type: 'error',
    code: 'rate_limited',
    reason: 'a connection may use 10 points a second (limits.operations)',
    retry: true,
    id: 10,
    room: 'a',
    retryAfterMs: 200,
    limit: 10,
    used: 20,
  });
  assert.equal(node.tally.refusals.get('connection_rate'), 1);
  node.now += 200;
  socket.write({ type: 'pub', room: 'a', payload: 11 });
  node.settle();
  assert.equal(only(socket.take(), 'ack'), 1);
});

test('who goes on in spite of rate_limited is closed with 4101', () => {
  const operations = { ...LIMITS.operations, perSecond: 1, burst: 1, refusals: 5 };
  const node = new SimNode({ limits: { operations } });
  const socket = node.connect('ann');
  for (let at = 0; at < 20; at++) socket.write({ type: 'ping' });
  assert.equal(errors(socket).length, 6);
  assert.equal(socket.closedWith, 4101);
});

test('limits.rates: false switches rates and quotas off, not the counts', () => {
  const operations = { ...LIMITS.operations, perSecond: 1, burst: 1 };
  const tenants = { publish: { perSecond: 1, burst: 1 }, bytesPerDay: 1, membersPerRoom: 1 };
  const node = new SimNode({ limits: { rates: false, operations }, tenants });
  const [ann, bob] = [node.connect('ann'), node.connect('bob')];
  for (let at = 0; at < 100; at++) ann.write({ type: 'pub', room: 'a', payload: at });
  node.settle();
  assert.equal(errors(ann).length, 0);
  ann.write({ type: 'join', room: 'a' });
  bob.write({ type: 'join', room: 'a' });
  assert.deepEqual(
    errors(bob).map(({ code }) => code),
    ['room_full'],
  );
});

test('a tenant has its publish rate over all its connections; other tenants have their own', () => {
  const node = new SimNode({ tenants: { publish: { perSecond: 5, burst: 5 } } });
  const mine = [node.connect('ann'), node.connect('bob')];
  const other = node.connect('eve', { tenant: 'other' });
  const offer = (socket: SimSocket, times: number) => {
    for (let at = 0; at < times; at++) socket.write({ type: 'pub', room: 'a', payload: 1 });
    node.settle();
    return only(socket.take(), 'ack');
  };
  assert.equal(
    mine.reduce((sum, socket) => sum + offer(socket, 4), 0),
    5,
  );
  assert.equal(offer(other, 9), 5);
  assert.equal(node.tally.refusals.get('tenant_publish'), 3 + 4);
  node.now += 1000;
  assert.equal(
    mine.reduce((sum, socket) => sum + offer(socket, 9), 0),
    5,
  );
});

test('published bytes are those of UTF-8; a refused publish is charged to no limit', () => {
  const tenants = { publish: { perSecond: 1, burst: 2 }, publishBytes: { perSecond: 1, burst: 10 } };
  const node = new SimNode({ tenants });
  const ann = node.connect('ann');
  // Quotes and three characters of three bytes: 11 bytes.
  ann.write({ type: 'pub', room: 'a', payload: 1 });
  ann.write({ type: 'pub', room: 'a', payload: '€€€' });
  node.settle();
  const [refused] = errors(ann);
  assert.deepEqual([refused?.code, refused?.limit, refused?.retryAfterMs], ['rate_limited', 1, 1000]);
  ann.write({ type: 'pub', room: 'a', payload: 2 });
  node.settle();
  assert.equal(only(ann.take(), 'ack'), 1);
});

test('bytes of a day end at midnight UTC', () => {
  const node = new SimNode({ tenants: { bytesPerDay: 10 } });
  node.now = Date.UTC(2030, 0, 1, 23, 59, 59);
  const ann = node.connect('ann');
  ann.write({ type: 'pub', room: 'a', payload: 12345678 });
  ann.write({ type: 'pub', room: 'a', payload: 123 });
  node.settle();
  const [refused] = errors(ann);
  assert.deepEqual(
    [refused?.code, refused?.limit, refused?.used, refused?.retryAfterMs],
    ['quota_exceeded', 10, 8, 1000],
  );
  node.now += 1000;
  ann.write({ type: 'pub', room: 'a', payload: 123 });
  node.settle();
  assert.equal(only(ann.take(), 'ack'), 1);
});

test('deliveries made are paid before the next publish', () => {
  const node = new SimNode({ tenants: { deliveriesPerSecond: 10 } });
  const readers = Array.from({ length: 30 }, (_, at) => node.connect(`r${at}`));
  for (const reader of readers) reader.write({ type: 'join', room: 'a' });
  node.settle();
  const ann = node.connect('ann');
  const publish = () => {
    ann.take();
    ann.write({ type: 'pub', room: 'a', payload: 1 });
    node.settle();
    return errors(ann)[0];
  };
  assert.equal(publish(), undefined);
  assert.equal(publish()?.retryAfterMs, 2100);
  assert.equal(node.tally.refusals.get('tenant_deliveries'), 1);
  node.now += 2100;
  assert.equal(publish(), undefined);
});

test('connections of a tenant and of a user: asked before the upgrade, free again after a close', () => {
  const node = new SimNode({ tenants: { connections: 3, connectionsPerUser: 2 } });
  const first = node.connect('ann');
  node.connect('ann');
  const perUser = node.hub.admit(identity('ann'));
  assert.deepEqual([perUser?.code, perUser?.limit, perUser?.used], ['quota_exceeded', 2, 2]);
  assert.equal(node.hub.admit(identity('bob')), undefined);
  node.connect('bob');
  assert.equal(node.hub.admit(identity('eve'))?.by, 'tenant_connections');
  assert.equal(node.hub.admit({ ...identity('eve'), tenant: 'other' }), undefined);
  first.end(1000);
  assert.equal(node.hub.admit(identity('eve')), undefined);
});

test('a resumed session takes the place of its own connection that is still open', () => {
  const node = new SimNode({ tenants: { connections: 1, onDuplicate: 'reject' } });
  const old = node.connect('ann');
  const [info] = old.take();
  assert.ok(info?.type === 'server_info' && info.ticket !== undefined);
  const verdict = node.hub.openTicket(info.ticket);
  assert.ok(verdict.ok);
  assert.equal(node.hub.admit(identity('ann'))?.code, 'duplicate_session');
  assert.equal(node.hub.admit(verdict.identity, verdict.resumes), undefined);
  node.connect('ann', {}, info.ticket);
  assert.equal(old.closedWith, 4008);
  assert.equal(node.hub.size, 1);
});

test('onDuplicate replace: the newest connection of a user stays', () => {
  const node = new SimNode({ tenants: { onDuplicate: 'replace', connections: 1 } });
  const old = node.connect('ann');
  assert.equal(node.hub.admit(identity('ann')), undefined);
  const young = node.connect('ann');
  assert.deepEqual([old.closedWith, young.closedWith], [4008, undefined]);
  assert.equal(node.hub.admit(identity('bob'))?.by, 'tenant_connections');
});

test('rooms of a tenant, members of a room, rooms of a connection', () => {
  const node = new SimNode({ tenants: { openRooms: 2, membersPerRoom: 2, roomsPerConnection: 1 } });
  const users = ['ann', 'bob', 'eve'].map((user) => node.connect(user));
  const [ann, bob, eve] = users as [SimSocket, SimSocket, SimSocket];
  const [info] = ann.take();
  assert.equal(info?.type === 'server_info' && info.limits['roomsPerConnection'], 1);
  ann.write({ type: 'join', room: 'a' });
  ann.write({ type: 'join', room: 'b' });
  assert.deepEqual(
    errors(ann).map(({ code, limit, used }) => [code, limit, used]),
    [['too_many_rooms', 1, 1]],
  );
  bob.write({ type: 'join', room: 'a' });
  eve.write({ type: 'join', room: 'a' });
  assert.deepEqual(
    errors(eve).map(({ code, limit, used }) => [code, limit, used]),
    [['room_full', 2, 2]],
  );
  eve.write({ type: 'join', room: 'b' });
  const zoe = node.connect('zoe');
  zoe.write({ type: 'join', room: 'c' });
  assert.deepEqual(
    errors(zoe).map(({ code, limit, used }) => [code, limit, used]),
    [['quota_exceeded', 2, 2]],
  );
  eve.write({ type: 'leave', room: 'b' });
  zoe.write({ type: 'join', room: 'c' });
  assert.deepEqual(errors(zoe), []);
});

test('C7.6 a policy changed at run time holds for open sessions of that tenant only', () => {
  const node = new SimNode();
  const ann = node.connect('ann');
  const eve = node.connect('eve', { tenant: 'other' });
  const hello = ann.received.find(({ type }) => type === 'server_info');
  const ticket = (hello?.type === 'server_info' && hello.ticket) || '';
  for (const socket of [ann, eve]) {
    socket.write({ type: 'join', room: 'secret:1' });
    socket.write({ type: 'join', room: '@ann' });
    socket.take();
  }
  const rule = { match: 'secret:**', allow: [], deny: ['join' as const, 'pub' as const] };
  node.policies.set('default', { rooms: [rule], publish: { perSecond: 1, burst: 1 } });
  node.settle();
  assert.deepEqual(
    ann.take().map((frame) => frame.type === 'left' && [frame.room, frame.code]),
    [['secret:1', 'forbidden']],
  );
  assert.deepEqual(eve.take(), []);
  for (let at = 0; at < 2; at++) ann.write({ type: 'pub', room: 'open', payload: 1 });
  node.settle();
  assert.deepEqual(
    errors(ann).map(({ code }) => code),
    ['rate_limited'],
  );
  node.policies.set('default', { enabled: false });
  node.settle();
  assert.deepEqual([ann.closedWith, eve.closedWith], [4004, undefined]);
  const again = node.hub.gate.ticket(ticket, { address: '127.0.0.1' });
  assert.deepEqual(!again.ok && [again.code, again.by], ['tenant_disabled', 'tenant_disabled']);
  node.policies.set('default', undefined);
  assert.equal(node.hub.gate.ticket(ticket, { address: '127.0.0.1' }).ok, true);
});

test('a tenant of many sessions is disabled over several turns', () => {
  const node = new SimNode();
  const sockets = Array.from({ length: 500 }, (_, at) => node.connect(`u${at}`));
  node.policies.set('default', { enabled: false });
  const closed = () => sockets.filter(({ closedWith }) => closedWith === 4004).length;
  assert.ok(closed() < 500);
  node.settle();
  assert.equal(closed(), 500);
});

test('presence count and off', () => {
  const node = new SimNode({ tenants: { presence: 'count' } });
  const ann = node.connect('ann');
  ann.take();
  ann.write({ type: 'join', room: 'a', presence: true });
  const [joined] = ann.take();
  assert.ok(joined?.type === 'joined');
  assert.deepEqual([joined.members, joined.count], [undefined, 1]);
  node.connect('bob').write({ type: 'join', room: 'a' });
  node.settle();
  ann.write({ type: 'presence', room: 'a', id: 1 });
  assert.deepEqual(ann.take(), [
    { type: 'presence', room: 'a', count: 2, mode: 'count' },
    { type: 'presence', room: 'a', id: 1, mode: 'count', count: 2 },
  ]);
  node.policies.set('default', { presence: 'off' });
  node.connect('eve').write({ type: 'join', room: 'a' });
  node.settle();
  ann.write({ type: 'presence', room: 'a' });
  assert.deepEqual(
    ann.take().map((frame) => frame.type === 'error' && frame.code),
    ['forbidden'],
  );
  assert.equal(node.tally.refusals.get('tenant_presence'), 1);
});

test('tenants that left nothing behind are forgotten', () => {
  const node = new SimNode({ tenants: { publish: { perSecond: 1, burst: 5 } } });
  for (let at = 0; at < 50; at++) {
    const socket = node.connect('ann', { tenant: `t${at}` });
    socket.write({ type: 'pub', room: 'a', payload: 1 });
    socket.end(1000);
  }
  node.settle();
  node.hub.tick();
  assert.equal(node.hub.tenants, 50);
  node.now += 1000;
  node.hub.tick();
  node.hub.tick();
  assert.equal(node.hub.tenants, 0);
});

test('C7.9 while the node is behind, tenants take turns: a quiet one is not held up by a hot one', () => {
  const fairness = { lagMs: 20, turnCost: 10_000, quantum: 1000, queueBytes: 100_000 };
  const node = new SimNode({ limits: { fairness } });
  const hot = node.connect('hot', { tenant: 'hot' });
  const quiet = node.connect('quiet', { tenant: 'quiet' });
  quiet.write({ type: 'join', room: 'a' });
  node.settle();
  for (const socket of [hot, quiet]) socket.take();
  const flood = () => {
    for (let at = 0; at < 400; at++) hot.write({ type: 'pub', room: 'b', payload: at });
  };
  // Not behind: everything is handled where it stands.
  flood();
  assert.equal(node.tally.published, 400);
  node.now += 50;
  node.settle();
  hot.take();
  flood();
  quiet.write({ type: 'pub', room: 'a', payload: 1, id: 1 });
  quiet.write({ type: 'leave', room: 'a' });
  assert.equal(node.tally.published, 400, 'nothing is handled in the turn of its arrival');
  const refused = errors(hot);
  assert.ok(
    refused.length > 0 &&
      refused.every(({ code, retryAfterMs }) => code === 'overloaded' && retryAfterMs === 1000),
  );
  assert.equal(node.tally.refusals.get('unfair'), refused.length);
  node.turn();
  node.turn();
  const first = node.tally.published;
  assert.ok(first < 400 + 100, `${first} in one turn`);
  node.settle();
  assert.deepEqual(
    quiet.take().map(({ type }) => type),
    ['event', 'left', 'ack'],
  );
  assert.equal(node.tally.published, 400 + 401 - refused.length);
  assert.ok(node.tally.fairTurns > 3);
  // No turn is long any more: back to handling at once.
  hot.write({ type: 'ping' });
  node.settle();
  hot.take();
  hot.write({ type: 'ping' });
  assert.equal(hot.take().length, 1);
});

test('C7.3.2 historyBytes: a room of the tenant keeps less than its pattern says, and another tenant’s does not', () => {
  const node = new SimNode();
  node.policies.set('default', { historyBytes: 2000 });
  const [ann, bob] = [node.connect('ann'), node.connect('bob', { tenant: 'other' })];
  for (const socket of [ann, bob]) {
    socket.write({ type: 'join', room: 'r' });
    for (let at = 0; at < 20; at++)
      socket.write({ type: 'pub', room: 'r', payload: 'x'.repeat(200), msgId: `${at}` });
    node.settle();
    socket.take();
    socket.write({ type: 'history', room: 'r', id: 1, limit: 100 });
    node.settle();
  }
  const kept = [ann, bob].map((socket) => {
    const page = socket.take().find((frame) => frame.type === 'history');
    assert.equal(page?.type, 'history');
    return page.events.length;
  });
  assert.ok((kept[0] ?? 0) < 10 && (kept[0] ?? 0) > 0, `${kept}`);
  assert.equal(kept[1], 20);
});
