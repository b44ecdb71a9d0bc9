import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { nkeyAuthenticator, PermissionViolationError } from '@nats-io/nats-core';
import { connect } from '@nats-io/transport-node';
import { applyStreams } from '../../../src/bus/nats/apply.ts';
import { type NatsOptions, natsOptions } from '../../../src/bus/nats/options.ts';
import { applyPermissions, brokerPermissions, type Permissions } from '../../../src/bus/nats/permissions.ts';
import { NatsUsage } from '../../../src/bus/nats/usage/store.ts';
import { accepted, fill, history, opened, replay, seqsOf } from '../../contract/bus/probe.ts';
import { STATE, until } from '../../contract/cluster/subject.ts';
import { becomes, get } from '../../contract/cursors.ts';
import { all, NOW, record, USAGE } from '../../contract/usage.ts';
import { authority } from '../../support/certs.ts';
import { QUIET } from '../../support/log.ts';
import { nkeyUser, operator } from '../../support/nats/accounts.ts';
import { natsBus, newPrefix, VOICE } from '../../support/nats/bus.ts';
import { type ClusterSetup, NatsCluster } from '../../support/nats/cluster.ts';
import { startNode } from '../../support/nats/nodes.ts';
import { durable, LIVE, roomRef } from '../../support/rooms.ts';

const dir = await mkdtemp(join(tmpdir(), 'carillon-keys-'));
after(() => rm(dir, { recursive: true, force: true }));

async function file(name: string, content: string): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, content);
  return path;
}

async function serverWith(context: TestContext, setup: ClusterSetup): Promise<string> {
  const cluster = await NatsCluster.start(1, setup);
  context.after(() => cluster.close());
  return cluster.server(0).url;
}

/** Starts a bus and sees it work; the options decide whether it gets in. */
async function works(context: TestContext, options: Partial<NatsOptions>): Promise<void> {
  const bus = natsBus(options.servers ?? [], {
    options: { startTimeoutMs: 500, shards: 1, prefix: newPrefix(), ...options },
  });
  context.after(() => bus.close());
  await bus.start();
  const room = roomRef('a');
  const probe = await opened(bus, room);
  await accepted(bus, room, 'x');
  assert.equal(probe.events.length, 1);
  assert.equal((await history(bus, room)).events.length, 1);
}

function list(subjects: readonly string[]): string {
  return `[${subjects.map((subject) => `"${subject}"`).join(', ')}]`;
}

function permissions({ publish, subscribe }: Permissions): string {
  return `permissions: { publish: ${list(publish)}, subscribe: ${list(subscribe)} }`;
}

const PREFIX = 'carillon';
const broker = nkeyUser();
const installer = nkeyUser();
const LEAST = `authorization { users: [
  { nkey: ${broker.publicKey}, ${permissions(brokerPermissions(PREFIX))} },
  { nkey: ${installer.publicKey}, ${permissions(applyPermissions(PREFIX))} },
  { user: admin, password: admin }
] }`;

test('with the least permissions everything works that a broker does', async (context) => {
  const server = await serverWith(context, { extra: LEAST });
  const options = { servers: [server], prefix: PREFIX, shards: 2, manageStreams: false, discover: false };
  const policies = [LIVE, durable()];
  const credentials = { nkeySeed: installer.seed };
  const limits = { payloadBytes: 65_536, dedupeWindowMs: 60_000 };
  const apply = natsOptions({ ...options, credentials, streamBytes: 2 ** 25, cursorBytes: 2 ** 20 });
  assert.equal(
    (await applyStreams({ options: apply, policies, limits, state: STATE, usage: USAGE, log: VOICE })).created
      .length,
    5,
  );
  assert.equal(
    (
      await applyStreams({
        options: apply,
        policies: [durable({ count: 5000 })],
        limits,
        state: STATE,
        usage: USAGE,
        log: VOICE,
      })
    ).updated.length,
    2,
  );
  const complaints: string[] = [];
  const log = { ...VOICE, warn: told, error: told };
  function told(_fields: object, message: string): void {
    complaints.push(message);
  }
  const nodes = [0, 1].map(() =>
    natsBus([server], {
      options: { ...options, credentials: { nkeySeed: broker.seed }, auditEveryMs: 100 },
      policies: [LIVE, durable({ count: 5000 })],
      log,
    }),
  );
  context.after(() => Promise.all(nodes.map((node) => node.close())));
  for (const node of nodes) await node.start();
  const [here, there] = nodes as [(typeof nodes)[number], (typeof nodes)[number]];
  const room = roomRef('a', durable({ count: 5000 }));
  const probe = await opened(here, room);
  const seqs = await fill(there, room, 10);
  await probe.count(10);
  await opened(there, room);
  assert.deepEqual(
    seqsOf(await replay(there, room, { epoch: probe.position.epoch, seq: seqs[4] as number })),
    seqs.slice(5),
  );
  assert.deepEqual(seqsOf(await replay(there, room, { last: 3 })), seqs.slice(7));
  const live = roomRef('live', LIVE);
  const liveProbe = await opened(here, live);
  await opened(there, live);
  await accepted(there, live, 'x');
  await liveProbe.count(1);
  const cursor = { epoch: probe.position.epoch, seq: seqs[4] as number };
  assert.equal(await get(there.cursors, room, 'ann'), undefined);
  here.cursors.put(room, 'ann', cursor);
  here.cursors.flush(room, 'ann');
  await becomes(there.cursors, room, 'ann', cursor);
  await sleep(500);
  assert.ok((here.health().figures['audits'] ?? 0) > 0);
  assert.deepEqual(complaints, [], 'the server has refused nothing');
});

test('a live room that NATS does not let this node hear is refused, not silent', async (context) => {
  const { publish, subscribe } = brokerPermissions(PREFIX);
  const deaf = subscribe.filter((subject) => !subject.includes('.live.'));
  const extra = `authorization { users: [{ user: u, password: p, ${permissions({ publish: [...publish, '$JS.API.STREAM.CREATE.*'], subscribe: deaf })} }] }`;
  const server = await serverWith(context, { extra });
  const bus = natsBus([server], {
    options: { prefix: PREFIX, shards: 1, discover: false, credentials: { user: 'u', password: 'p' } },
    policies: [LIVE],
    log: QUIET,
  });
  context.after(() => bus.close());
  await bus.start();
  const faults: string[] = [];
  const ignore = () => undefined;
  bus.open(roomRef('live', LIVE), {
    opened: () => faults.push('opened'),
    failed: ({ code }) => faults.push(code),
    event: ignore,
    gap: ignore,
  });
  await until('the room is refused', () => faults.length > 0);
  await sleep(100);
  assert.deepEqual(faults, ['internal']);
});

test('nodes talk and keep their stores with the least permissions', async (context) => {
  const server = await serverWith(context, { extra: LEAST });
  const common = { servers: [server], prefix: PREFIX, shards: 1, manageStreams: false, discover: false };
  const setup = { options: { ...common, credentials: { nkeySeed: broker.seed } } };
  await assert.rejects(startNode([server], setup), /CARILLON_STATE is missing.*manageStreams/);
  const options = natsOptions({ ...common, credentials: { nkeySeed: installer.seed } });
  const limits = { payloadBytes: 65_536, dedupeWindowMs: 60_000 };
  await applyStreams({ options, policies: [LIVE], limits, state: STATE, usage: USAGE, log: VOICE });
  const complaints: unknown[] = [];
  const told = (fields: object, message: string) => complaints.push([message, fields]);
  const log = { ...VOICE, warn: told, error: told };
  const [one, other] = await Promise.all([
    startNode([server], { ...setup, log }),
    startNode([server], { ...setup, log }),
  ]);
  context.after(() => Promise.all([one.close(), other.close()]));
  const credentials = { nkeySeed: broker.seed };
  const usage = new NatsUsage({
    link: () => one.bus.link(),
    options: natsOptions({ ...common, credentials }),
    settings: USAGE,
    node: 'n1',
    incarnation: 'r1',
    clock: Date,
    log,
  });
  context.after(() => usage.close());
  await usage.start();
  assert.ok((await usage.keep([record()])) && (await usage.journal([record({ minute: NOW })])));
  assert.equal((await all(usage)).length, 2);
  const heard: unknown[] = [];
  other.cluster.hear('news', (message) => heard.push(message));
  other.cluster.answer('who', () => 1);
  one.cluster.answer('who', () => 2);
  assert.deepEqual((await one.cluster.ask('who', 0, 1000)).missing, []);
  one.cluster.tell('news', 1);
  const stored = await one.cluster.store('bans').put('k', 1, { revision: 0, ttlMs: 60_000 });
  assert.ok(stored.ok, JSON.stringify(stored));
  assert.deepEqual(await one.cluster.store('bans').put('k', 1, { revision: 0 }), {
    ok: false,
    why: 'conflict',
  });
  await until('all arrived', () => heard.length === 1 && other.cluster.store('bans').size === 1);
  const deleted = await other.cluster.store('bans').delete('k');
  assert.ok(deleted.ok, JSON.stringify([deleted, complaints]));
  const again = await one.cluster.store('bans').put('k', 1, { revision: 0 });
  assert.ok(again.ok, JSON.stringify([again, complaints]));
  const late = await startNode([server], { ...setup, log });
  context.after(() => late.close());
  assert.equal(late.cluster.store('bans').get('k')?.value, 1);
  assert.deepEqual(complaints, [], 'the server has refused nothing');
});

test('and nothing else', async (context) => {
  const server = await serverWith(context, { extra: LEAST });
  const connection = await connect({
    servers: [server],
    authenticator: nkeyAuthenticator(Buffer.from(broker.seed)),
    inboxPrefix: `_INBOX_${PREFIX}.x`,
  });
  context.after(() => connection.close());
  const refused = new Set<string>();
  void (async () => {
    for await (const status of connection.status())
      if (status.type === 'error' && status.error instanceof PermissionViolationError)
        refused.add(`${status.error.operation} ${status.error.subject}`);
  })();
  const publishes = [
    '$JS.API.STREAM.DELETE.CARILLON_0',
    '$JS.API.STREAM.PURGE.CARILLON_0',
    '$JS.API.STREAM.UPDATE.CARILLON_0',
    '$JS.API.STREAM.CREATE.CARILLON_0',
    '$JS.API.STREAM.MSG.DELETE.CARILLON_0',
    '$JS.API.STREAM.LIST',
    '$JS.API.CONSUMER.CREATE.CARILLON_0',
    '$SYS.REQ.SERVER.PING',
    'another.log.0.a.b',
    'another.ctl.beat',
    'another.state.bans.k',
  ];
  const subscriptions = [
    '>',
    `${PREFIX}.>`,
    `${PREFIX}.log.>`,
    `${PREFIX}.state.>`,
    'another.ctl.>',
    '_INBOX.>',
    '_INBOX_other.x',
    '$JS.EVENT.>',
    '$SYS.>',
  ];
  for (const subject of publishes) connection.publish(subject, '');
  for (const subject of subscriptions) connection.subscribe(subject, { callback: () => undefined });
  await connection.flush();
  await sleep(50);
  assert.deepEqual(
    [...refused].sort(),
    [
      ...publishes.map((subject) => `publish ${subject}`),
      ...subscriptions.map((subject) => `subscription ${subject}`),
    ].sort(),
  );
});

test('user and password, also in the URL; a token', async (context) => {
  const users = 'authorization { users: [{ user: ann, password: "p:w%1" }] }';
  const server = await serverWith(context, { extra: users });
  await works(context, { servers: [server], credentials: { user: 'ann', password: 'p:w%1' } });
  await works(context, { servers: [server.replace('//', '//ann:p%3Aw%251@')] });
  const wrong = { servers: [server], credentials: { user: 'ann', password: 'no' }, startTimeoutMs: 20_000 };
  const began = performance.now();
  await assert.rejects(works(context, wrong), /Authorization Violation/);
  assert.ok(performance.now() - began < 5000, 'refused credentials are not tried for the whole time');
  const other = await serverWith(context, { extra: 'authorization { token: "s3cret" }' });
  await works(context, { servers: [other], credentials: { token: 's3cret' } });
});

test('an nkey file that cannot be read when the broker connects again', async (context) => {
  const server = await NatsCluster.start(1, {
    extra: `authorization { users: [{ nkey: ${broker.publicKey} }] }`,
  });
  context.after(() => server.close());
  const path = await file('seed', `${broker.seed}\n`);
  const options = { servers: server.urls, credentials: { nkeySeedFile: path }, prefix: PREFIX, shards: 1 };
  const bus = natsBus(server.urls, { options });
  context.after(() => bus.close());
  await bus.start();
  await rm(path);
  await server.server(0).kill();
  await server.up();
  const until = Date.now() + 5000;
  while (bus.health().state !== 'up' && Date.now() < until) await sleep(20);
  assert.equal(bus.health().state, 'up', 'a file that is missing in that moment counts as unchanged');
  await accepted(bus, roomRef('a'), 1);
});

test('a .creds file', async (context) => {
  const { config, creds } = operator();
  const server = await serverWith(context, { extra: config });
  await works(context, { servers: [server], credentials: { credsFile: await file('user.creds', creds) } });
  await assert.rejects(works(context, { servers: [server] }), /Authorization Violation/);
});

test('TLS: only with the right authority, and a client certificate where the server wants one', async (context) => {
  const [ours, theirs] = [authority('our ca'), authority('their ca')];
  const server = ours.issue('nats');
  const client = ours.issue('broker');
  const ca = await file('ca.pem', ours.cert);
  const paths = {
    cert: await file('server.pem', server.cert),
    key: await file('server.key', server.key),
    wrongCa: await file('wrong.pem', theirs.cert),
    clientCert: await file('client.pem', client.cert),
    clientKey: await file('client.key', client.key),
  };
  const tls = `cert_file: "${paths.cert}", key_file: "${paths.key}"`;
  const url = await serverWith(context, { extra: `tls { ${tls} }` });
  await works(context, { servers: [url], tls: { caFile: ca } });
  await works(context, { servers: [url.replace('nats:', 'tls:')], tls: { caFile: ca } });
  await assert.rejects(
    works(context, { servers: [url], tls: { caFile: paths.wrongCa } }),
    /cannot be reached/,
  );
  await assert.rejects(works(context, { servers: [url] }), /cannot be reached/);
  const plain = await serverWith(context, {});
  await assert.rejects(works(context, { servers: [plain.replace('nats:', 'tls:')] }), /cannot be reached/);
  const mutual = await serverWith(context, { extra: `tls { ${tls}, ca_file: "${ca}", verify: true }` });
  await works(context, {
    servers: [mutual],
    tls: { caFile: ca, certFile: paths.clientCert, keyFile: paths.clientKey },
  });
  await assert.rejects(works(context, { servers: [mutual], tls: { caFile: ca } }), /cannot be reached/);
  const first = await serverWith(context, { extra: `tls { ${tls}, handshake_first: true }` });
  await works(context, { servers: [first], tls: { caFile: ca, handshakeFirst: true } });
});
