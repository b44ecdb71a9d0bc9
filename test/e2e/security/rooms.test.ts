/** A tenant that tries to reach the rooms of another by their names, in every field of every frame and API call. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';

const ADMIN = 'an-admin-token-that-only-this-test-uses';
const MARK = 'for the eyes of the victim only';
const VICTIM = 'victim';
const ROOM = 'secret';

/** Ways to write "the room of that tenant" for a broker that joins, splits, decodes or normalises names. */
const NAMES: readonly unknown[] = [
  ...[
    '\0',
    '/',
    '.',
    ':',
    '@',
    '|',
    '%00',
    '%2f',
    '%2E',
    '\\',
    '\n',
    '\r\n',
    ' ',
    '\t',
    '\u2028',
    '//',
    '::',
    '..',
  ].map((separator) => `${VICTIM}${separator}${ROOM}`),
  `../${VICTIM}/${ROOM}`,
  `..%2f${VICTIM}%2f${ROOM}`,
  `./${ROOM}`,
  `attacker\0../${VICTIM}\0${ROOM}`,
  `${ROOM}\0`,
  `${ROOM}\u200b`,
  `\u202e${ROOM}`,
  'ѕecret',
  'ｓｅｃｒｅｔ',
  `${ROOM} `,
  `${ROOM}.`,
  'SECRET',
  '*',
  '**',
  '>',
  '*.*',
  `*:${ROOM}`,
  `${VICTIM}.>`,
  `@${VICTIM}`,
  '@vic',
  `@vic@${VICTIM}`,
  `@${VICTIM}:vic`,
  '@*',
  '@@vic',
  '$JS.API.STREAM.LIST',
  '$SYS.>',
  '_INBOX.>',
  'carillon.>',
  '__proto__',
  'constructor',
  '',
  '.',
  '..',
  'x'.repeat(129),
  null,
  0,
  true,
  [ROOM],
  { tenant: VICTIM, room: ROOM },
];

interface Player {
  readonly socket: WebSocket;
  readonly frames: Record<string, unknown>[];
  send(frame: unknown): void;
}

let nats: NatsCluster;
before(async () => {
  nats = await NatsCluster.start(1);
});
after(() => nats?.close());

async function play(broker: RunningBroker, tenant: string, sub: string): Promise<Player> {
  const token = await broker.token({ sub, tenant });
  const socket = new WebSocket(broker.url, ['chat.v1', `bearer.${token}`]);
  const frames: Record<string, unknown>[] = [];
  socket.on('message', (data) => {
    frames.push(...([JSON.parse(String(data))].flat() as Record<string, unknown>[]));
  });
  socket.on('error', () => undefined);
  await once(socket, 'message');
  return { socket, frames, send: (frame) => socket.send(JSON.stringify(frame)) };
}

async function answered(player: Player, id: number): Promise<Record<string, unknown>> {
  for (let waited = 0; waited < 10_000; waited += 5) {
    const found = player.frames.find((frame) => frame['id'] === id && frame['type'] !== 'event');
    if (found) return found;
    await sleep(5);
  }
  throw new Error(`no answer to ${id} in 10 s`);
}

/** Everything that a frame has a place for a name, or for text that might end up beside one. */
function attacks(name: unknown): unknown[] {
  const evil = { payload: 'from the attacker' };
  return [
    { type: 'join', room: name, presence: true },
    { type: 'join', room: name, since: { last: 100 } },
    { type: 'pub', room: name, ...evil },
    { type: 'pub', room: name, ...evil, ephemeral: true },
    { type: 'history', room: name, limit: 100 },
    { type: 'presence', room: name },
    { type: 'seen', rooms: { [String(name)]: 1 } },
    { type: 'leave', room: name },
  ];
}

/** The same in the fields that are no names of rooms, and in fields that no frame has. */
function besides(name: unknown): unknown[] {
  const evil = { type: 'pub', room: 'own', payload: 'from the attacker' };
  return [
    { ...evil, msgId: name },
    { ...evil, key: name },
    { ...evil, id: name },
    { ...evil, tenant: VICTIM },
    { ...evil, from: 'vic', user: 'vic' },
    { type: 'join', room: 'own', since: { epoch: name, seq: 0 } },
    { type: 'leave', room: 'own', tenant: VICTIM },
    { type: 'history', room: ROOM, tenant: VICTIM },
    { type: 'join', room: ROOM, tenant: VICTIM, presence: true },
    { type: 'presence', room: ROOM, tenant: VICTIM },
    { type: 'leave', room: ROOM, tenant: VICTIM },
  ];
}

async function sendAll(broker: RunningBroker, frames: readonly unknown[]): Promise<Player[]> {
  const players: Player[] = [];
  // Fewer than limits.protocolErrors end a connection.
  for (let at = 0; at < frames.length; at += 40) {
    const player = await play(broker, 'attacker', 'mallory');
    for (const frame of frames.slice(at, at + 40)) player.send(frame);
    player.send({ type: 'ping', id: 9999 });
    await answered(player, 9999);
    players.push(player);
  }
  return players;
}

async function callAll(broker: RunningBroker): Promise<string[]> {
  const token = await broker.token({ sub: 'backend', tenant: 'attacker', scope: 'api' });
  const bodies: string[] = [];
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${broker.httpUrl}/api/v1/${path}`, {
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    bodies.push(`${response.status} ${await response.text()}`);
  };
  const payload = 'from the attacker';
  for (const name of NAMES) {
    const text =
      typeof name === 'string' ? encodeURIComponent(name) : encodeURIComponent(JSON.stringify(name));
    for (const path of [text, text.replaceAll('%', '%25')]) {
      await call('GET', `rooms/${path}/history`);
      await call('GET', `rooms/${path}/presence`);
      await call('GET', `rooms/${ROOM}/history?tenant=${path}`);
      await call('POST', `users/${path}/disconnect`, {});
    }
    await call('POST', 'publish', { room: name, payload });
    await call('POST', 'publish', { room: ROOM, payload, tenant: name });
    await call('POST', 'broadcast', { rooms: [name], payload });
    await call('POST', 'broadcast', { users: [name], payload });
  }
  for (const tenant of [VICTIM, 'Victim', `attacker,${VICTIM}`]) {
    await call('POST', 'publish', { room: ROOM, payload, tenant });
    await call('POST', 'broadcast', { rooms: [ROOM], payload, tenant });
    await call('POST', 'broadcast', { users: ['vic'], payload, tenant });
    await call('GET', `rooms/${ROOM}/history?tenant=${tenant}`);
    await call('GET', `rooms/${ROOM}/history?tenant=attacker&tenant=${tenant}`);
    await call('GET', `rooms/${ROOM}/presence?tenant=${tenant}`);
    await call('POST', 'users/vic/disconnect', { tenant });
    await call('POST', `users/vic/disconnect?tenant=${tenant}`, {});
  }
  await call('POST', 'broadcast', { tenant: true, payload });
  await call('POST', 'users/vic/disconnect', {});
  return bodies;
}

for (const bus of ['embedded', 'nats'] as const)
  describe(`on the ${bus} bus`, () => {
    let broker: RunningBroker;
    let victim: Player;

    before(async () => {
      const shared = bus === 'nats' && {
        nats: { url: nats.urls, prefix: newPrefix(), shards: 1, streamBytes: '32MiB', cursorBytes: '1MiB' },
      };
      broker = await startBroker({
        env: { CARILLON_ADMIN_TOKEN: ADMIN },
        config: { ...shared, rooms: [{ match: '**', history: { count: 1000, age: '1h' } }] },
      });
      victim = await play(broker, VICTIM, 'vic');
      victim.send({ type: 'join', room: ROOM, presence: true, id: 1 });
      victim.send({ type: 'join', room: '@vic', presence: true, id: 2 });
      victim.send({ type: 'pub', room: ROOM, payload: MARK, id: 3 });
      victim.send({ type: 'pub', room: '@vic', payload: MARK, id: 4 });
      for (const id of [1, 2, 3, 4]) assert.notEqual((await answered(victim, id))['type'], 'error');
    });
    after(async () => {
      victim?.socket.terminate();
      await broker?.kill();
    });

    /** Nothing of the attacker has reached the victim, and the other way round. */
    async function untouched(before: number, seen: readonly string[]): Promise<void> {
      for (const text of seen) assert.ok(!text.includes(MARK) && !text.includes('"vic"'), text.slice(0, 400));
      victim.send({ type: 'history', room: ROOM, limit: 1000, id: `h${before}` });
      victim.send({ type: 'presence', room: ROOM, id: `p${before}` });
      await sleep(500);
      const fresh = victim.frames.slice(before).filter(({ type }) => type !== 'ticket');
      assert.deepEqual(fresh.map(({ type }) => type).sort(), ['history', 'presence'], JSON.stringify(fresh));
      const history = fresh.find(({ type }) => type === 'history') as { events: { payload: unknown }[] };
      assert.deepEqual(
        history.events.map(({ payload }) => payload),
        [MARK],
      );
      const presence = fresh.find(({ type }) => type === 'presence') as { members: { user: string }[] };
      assert.deepEqual(
        presence.members.map(({ user }) => user),
        ['vic'],
      );
      assert.equal(victim.socket.readyState, WebSocket.OPEN);
    }

    test('C2.1 C5.8 in the fields of frames that name rooms', async () => {
      const before = victim.frames.length;
      const players = await sendAll(broker, NAMES.flatMap(attacks));
      await untouched(
        before,
        players.flatMap(({ frames }) => frames.map((frame) => JSON.stringify(frame))),
      );
      for (const { socket } of players) socket.terminate();
    });

    test('C2.1 C5.8 in every other field, and in fields that frames do not have', async () => {
      const before = victim.frames.length;
      const players = await sendAll(broker, NAMES.flatMap(besides));
      await untouched(
        before,
        players.flatMap(({ frames }) => frames.map((frame) => JSON.stringify(frame))),
      );
      for (const { socket } of players) socket.terminate();
    });

    test('in every path, query and body of the server API', async () => {
      const before = victim.frames.length;
      const answers = await callAll(broker);
      assert.deepEqual(
        answers.filter((answer) => answer.startsWith('500')),
        [],
      );
      await untouched(before, answers);
    });

    test('the same names are taken from the victim itself, so that the refusals are about the tenant', async () => {
      const before = victim.frames.length;
      const token = await broker.token({ sub: 'backend', tenant: VICTIM, scope: 'api' });
      const response = await fetch(`${broker.httpUrl}/api/v1/rooms/${ROOM}/history`, {
        headers: { authorization: `Bearer ${token}` },
      });
      assert.match(await response.text(), new RegExp(MARK));
      await fetch(`${broker.httpUrl}/api/v1/publish`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
        body: JSON.stringify({ room: ROOM, payload: 2 }),
      });
      await sleep(200);
      assert.deepEqual(
        victim.frames.slice(before).map(({ type }) => type),
        ['event'],
      );
    });

    test('C1.9 a ticket continues its own tenant’s session, and cannot be turned into another’s', async () => {
      const mine = await play(broker, 'attacker', 'vic');
      const info = mine.frames[0] as { ticket: string; session: string };
      const [body = '', signature = ''] = info.ticket.split('.');
      const text = Buffer.from(body, 'base64url').toString();
      assert.match(text, /"attacker"/);
      const theirs = (victim.frames[0] as { session: string }).session;
      const turned = [
        text.replaceAll('"attacker"', `"${VICTIM}"`),
        text.replaceAll(info.session, theirs),
        text.replace(/}$/, `,"identity":{"user":"vic","tenant":"${VICTIM}","rooms":[]}}`),
      ].map((changed) => `${Buffer.from(changed).toString('base64url')}.${signature}`);
      const stranger = (victim.frames[0] as { ticket: string }).ticket.split('.')[1];
      const credentials = [
        ...turned,
        `${body}.${stranger}`,
        `${body}.`,
        body,
        `${info.ticket}.${signature}`,
        '.',
      ];
      for (const ticket of credentials) {
        const socket = new WebSocket(broker.url, ['chat.v1', `ticket.${ticket}`]);
        socket.on('error', () => undefined);
        const [, response] = await once(socket, 'unexpected-response');
        assert.equal(response.statusCode, 401, ticket);
        response.destroy();
      }
      const again = new WebSocket(broker.url, ['chat.v1', `ticket.${info.ticket}`]);
      const [data] = await once(again, 'message');
      const resumed = JSON.parse(String(data));
      assert.deepEqual([resumed.tenant, resumed.user, resumed.resumed], ['attacker', 'vic', true]);
      again.send(JSON.stringify({ type: 'history', room: ROOM, id: 1 }));
      const [answer] = await once(again, 'message');
      assert.ok(!String(answer).includes(MARK), String(answer));
      assert.equal(victim.socket.readyState, WebSocket.OPEN);
      again.terminate();
    });
  });
