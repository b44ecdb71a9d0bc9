import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTickets } from '../../src/auth/tickets.ts';
import type { ServerFrame, ServerInfoFrame, TicketFrame } from '../../src/protocol/frames.ts';
import { SimNode } from '../support/sim.ts';

function info(frames: readonly ServerFrame[]): ServerInfoFrame & { ticket: string } {
  const [first] = frames;
  assert.equal(first?.type, 'server_info');
  return first as ServerInfoFrame & { ticket: string };
}

test('a ticket continues the session: same id, and the next server_info says how the last connection ended', () => {
  const node = new SimNode();
  const first = node.connect('ann');
  const before = info(first.take());
  assert.equal(before.resumed, false);
  first.end(1006);
  node.now += 5000;
  const after = info(node.connect('somebody', {}, before.ticket).take());
  assert.equal(after.session, before.session);
  assert.equal(after.user, 'ann');
  assert.equal(after.resumed, true);
  assert.deepEqual(after.last, { code: 1006, reason: '', at: node.now - 5000 });
});

test('a ticket that was used is refused, while the session lives and after', () => {
  const node = new SimNode();
  const first = node.connect('ann');
  const { ticket } = info(first.take());
  first.end(1006);
  const second = node.connect('ann', {}, ticket);
  assert.throws(() => node.connect('ann', {}, ticket), /used already/);
  second.end(1006);
  assert.throws(() => node.connect('ann', {}, ticket), /used already/);
});

test('a session that comes back while its old socket hangs closes that one with 4008', () => {
  const node = new SimNode();
  const old = node.connect('ann');
  const { ticket } = info(old.take());
  old.write({ type: 'join', room: 'r' });
  node.settle();
  const next = node.connect('ann', {}, ticket);
  assert.equal(old.closedWith, 4008);
  assert.equal(info(next.take()).last?.code, 4008);
  assert.equal(node.hub.size, 1);
  next.end(1000);
  assert.equal(node.hub.size, 0);
});

test('a ticket dies with its ttl and with the token behind it, and a forged one was never alive', () => {
  const node = new SimNode();
  const { ticket } = info(node.connect('ann').take());
  const short = info(node.connect('bob', { exp: node.now / 1000 + 10 }).take()).ticket;
  node.now += 11_000;
  assert.throws(() => node.connect('bob', {}, short), /token behind the ticket has expired/);
  node.now += 170_000;
  assert.throws(() => node.connect('ann', {}, ticket), /ticket has expired/);
  const fresh = info(node.connect('ann').take()).ticket;
  const other = createTickets(
    { secrets: () => [new Uint8Array(32).fill(1)], ttlSeconds: 180 },
    { now: () => node.now },
  );
  for (const forged of [`${fresh}A`, fresh.replace(/^./, 'f'), 'a.b', '', '.', 'x.y.z', `${fresh}.`])
    assert.throws(() => node.connect('ann', {}, forged), /not genuine/, forged);
  assert.equal(other.open(fresh).ok, false);
});

test('a rotated secret: what the old one signed still opens, what the new one signs does too', () => {
  const clock = { now: () => 1_700_000_000_000 };
  const [older, newer] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  const identity = { user: 'ann', tenant: 'default', rooms: [] };
  const place = { session: 's', generation: 3 };
  const before = createTickets({ secrets: () => [older], ttlSeconds: 60 }, clock).issue(
    identity,
    place,
  ) as string;
  const rotated = createTickets({ secrets: () => [newer, older], ttlSeconds: 60 }, clock);
  assert.deepEqual(rotated.open(before), { ok: true, identity, resumes: place });
  const after = rotated.issue(identity, place) as string;
  assert.equal(createTickets({ secrets: () => [older], ttlSeconds: 60 }, clock).open(after).ok, false);
});

test('a live connection gets a newer ticket before the one it has expires', () => {
  const node = new SimNode();
  const socket = node.connect('ann');
  const { ticketTtl } = info(socket.take());
  const tickets: TicketFrame[] = [];
  for (let second = 0; second < 2 * (ticketTtl as number); second++) {
    node.now += 1000;
    node.hub.tick();
    tickets.push(...socket.take().filter((frame): frame is TicketFrame => frame.type === 'ticket'));
  }
  assert.ok(tickets.length >= 3 && tickets.length <= 4, `${tickets.length} tickets`);
  socket.end(1006);
  assert.equal(info(node.connect('ann', {}, tickets.at(-1)?.ticket).take()).resumed, true);
});

test('a token that runs out ends its connection with 4201', () => {
  const node = new SimNode();
  const socket = node.connect('ann', { exp: node.now / 1000 + 3 });
  for (let second = 0; second < 2; second++) {
    node.now += 1000;
    node.hub.tick();
  }
  assert.equal(socket.closedWith, undefined);
  node.now += 1000;
  node.hub.tick();
  assert.equal(socket.closedWith, 4201);
});
