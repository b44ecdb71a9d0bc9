/** What TLS of the listener lets in, by real handshakes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { type TestContext, test } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import WebSocket, { type ClientOptions } from 'ws';
import type { TlsFiles } from '../../src/transport/tls.ts';
import { type CertificateFolder, certificateFolder } from '../support/certificates.ts';
import { authority } from '../support/certs.ts';
import { startTransport, type TestTransport } from './support/parts.ts';

const PLAIN = { minVersion: 'TLSv1.2', clientCert: 'off', sni: [] } as const;

interface Served {
  readonly node: TestTransport;
  readonly files: CertificateFolder;
}

async function served(
  t: TestContext,
  more: (files: CertificateFolder) => Partial<TlsFiles>,
): Promise<Served> {
  const files = certificateFolder(t);
  const server = files.write('server', files.ca.issue('first.test'));
  const node = await startTransport({ tls: { ...PLAIN, ...server, ...more(files) } });
  t.after(() => node.transport.close());
  return { node, files };
}

/** Rejects with what the handshake failed of. */
async function secured({ node, files }: Served, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ port: node.port, host: '127.0.0.1', ca: files.ca.cert, ...options });
  await once(socket, 'secureConnect');
  return socket;
}

/** The subject of the certificate that a new client sees. */
async function subject(server: Served, servername?: string): Promise<string> {
  const socket = await secured(server, servername === undefined ? {} : { servername });
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
}

/** An open WebSocket, or the status of the refusal. */
async function webSocket(
  { node, files }: Served,
  options: ClientOptions & { servername?: string } = {},
): Promise<WebSocket | number> {
  const headers = { Authorization: 'Bearer known.user' };
  const url = `wss://127.0.0.1:${node.port}/connect`;
  const socket = new WebSocket(url, 'chat.v1', { ca: files.ca.cert, headers, ...options });
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(socket));
    socket.once('unexpected-response', (_request, { statusCode }) => resolve(statusCode ?? 0));
    socket.once('error', reject);
  });
}

async function status({ node, files }: Served, options: object = {}): Promise<number> {
  const get = request({ host: '127.0.0.1', port: node.port, ca: files.ca.cert, agent: false, ...options });
  const [response] = await once(get.end(), 'response');
  response.destroy();
  return response.statusCode;
}

const OLD = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' } as const;

test('TLS 1.2 and 1.3 by default, with forward secrecy; nothing older or weaker', async (t) => {
  const server = await served(t, () => ({}));
  assert.equal((await secured(server)).getProtocol(), 'TLSv1.3');
  const older = await secured(server, { maxVersion: 'TLSv1.2' });
  assert.match(`${older.getProtocol()} ${older.getCipher().name}`, /^TLSv1\.2 ECDHE-ECDSA-\S+(GCM|POLY1305)/);
  await assert.rejects(secured(server, OLD), /alert protocol version/);
  for (const ciphers of ['ECDHE-ECDSA-AES128-SHA', 'AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-SHA384'])
    await assert.rejects(secured(server, { maxVersion: 'TLSv1.2', ciphers }), /handshake failure/, ciphers);
});

test('minVersion TLSv1.3 refuses 1.2, on the names too', async (t) => {
  const server = await served(t, ({ write, ca }) => ({
    minVersion: 'TLSv1.3',
    sni: [{ names: ['named.test'], ...write('named', ca.issue('named.test')) }],
  }));
  assert.equal((await secured(server)).getProtocol(), 'TLSv1.3');
  await assert.rejects(secured(server, { maxVersion: 'TLSv1.2' }), /handshake failure/);
  await assert.rejects(
    secured(server, { maxVersion: 'TLSv1.2', servername: 'named.test' }),
    /handshake failure/,
  );
});

test('each name has its certificate, and the whole service behind it', async (t) => {
  const server = await served(t, ({ write, ca }) => ({
    sni: [
      { names: ['one.test', 'un.test'], ...write('one', ca.issue('one.test')) },
      { names: ['*.two.test'], ...write('two', ca.issue('*.two.test')) },
    ],
  }));
  assert.equal(await subject(server), 'first.test');
  // The one for all others, which its client cannot take for this name.
  await assert.rejects(subject(server, 'unknown.test'), /altnames: DNS:localhost, DNS:first\.test/);
  assert.equal(await subject(server, 'one.test'), 'one.test');
  assert.equal(await subject(server, 'a.two.test'), '*.two.test');
  const socket = await webSocket(server, { servername: 'one.test' });
  const other = await webSocket(server);
  assert.ok(socket instanceof WebSocket && other instanceof WebSocket);
  // One set of topics: who came by the name and who did not are in the same room.
  const [first, second] = server.node.guests;
  first?.connection.subscribe('room');
  second?.connection.subscribe('room');
  const both = Promise.all([once(socket, 'message'), once(other, 'message')]);
  server.node.transport.publish('room', 'hello', 'json');
  assert.deepEqual(
    (await both).map(([data]) => String(data)),
    ['hello', 'hello'],
  );
  assert.equal(await status(server, { servername: 'one.test' }), 404);
});

test('require: only who shows a good certificate gets in, over TLS 1.2 and 1.3', async (t) => {
  const clients = authority('clients');
  const server = await served(t, ({ write }) => ({
    clientCert: 'require',
    caFile: write('clients', clients).certFile,
  }));
  const good = clients.issue('client');
  const foreign = authority('others').issue('client');
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    assert.equal(await webSocket(server, { maxVersion }), 403);
    assert.equal(await status(server, { maxVersion }), 403);
    assert.equal(await status(server, { maxVersion, ...good }), 404);
    assert.ok((await webSocket(server, { maxVersion, ...good })) instanceof WebSocket);
    await assert.rejects(webSocket(server, { maxVersion, ...foreign }), /alert|ECONNRESET|socket hang up/);
  }
});

test('a resumed session still has the certificate it began with', async (t) => {
  const clients = authority('clients');
  const server = await served(t, ({ write }) => ({
    clientCert: 'require',
    caFile: write('clients', clients).certFile,
  }));
  const first = await secured(server, clients.issue('client'));
  const session = once(first, 'session');
  first.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const [ticket] = await session;
  const again = await secured(server, { session: ticket });
  assert.ok(again.isSessionReused());
  again.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(String((await once(again, 'data'))[0]), /^HTTP\/1\.1 404/);
  // Without a certificate a session resumes to none.
  const bare = await secured(server);
  const empty = once(bare, 'session');
  bare.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const resumed = await secured(server, { session: (await empty)[0] });
  resumed.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(String((await once(resumed, 'data'))[0]), /^HTTP\/1\.1 403/);
});

test('request: none is needed, but one that is shown has to be good', async (t) => {
  const clients = authority('clients');
  const server = await served(t, ({ write }) => ({
    clientCert: 'request',
    caFile: write('clients', clients).certFile,
  }));
  assert.ok((await webSocket(server)) instanceof WebSocket);
  assert.ok((await webSocket(server, clients.issue('client'))) instanceof WebSocket);
  const foreign = authority('others').issue('client');
  await assert.rejects(webSocket(server, foreign), /alert|ECONNRESET|socket hang up/);
});

test('after a renewal all live connections are in the same rooms, however old their certificates', async (t) => {
  const server = await served(t, () => ({}));
  const { node, files } = server;
  const sockets: WebSocket[] = [];
  for (const name of ['first.test', 'second.test', 'third.test']) {
    if (name !== 'first.test') {
      files.write('server', files.ca.issue(name));
      node.transport.renewCertificates();
      // The older listener closes then; who is in its queue at that instant is reset.
      await new Promise(setImmediate);
    }
    assert.equal(await subject(server), name);
    const socket = await webSocket(server);
    assert.ok(socket instanceof WebSocket);
    node.guest().connection.subscribe('room');
    sockets.push(socket);
  }
  const heard = sockets.map((socket) => {
    const messages: string[] = [];
    socket.on('message', (data) => void messages.push(String(data)));
    return messages;
  });
  node.transport.publish('room', 'to all', 'json');
  const [, second] = node.guests;
  assert.ok(second);
  node.transport.publishExcept(second.connection, 'room', 'to the others', 'json');
  // What was published before has come by then.
  await Promise.all(sockets.map(pinged));
  assert.deepEqual(heard, [['to all', 'to the others'], ['to all'], ['to all', 'to the others']]);
});

async function pinged(socket: WebSocket): Promise<void> {
  socket.ping();
  await once(socket, 'pong');
}

test('files that cannot be used change nothing', async (t) => {
  const server = await served(t, () => ({}));
  const socket = await webSocket(server);
  assert.ok(socket instanceof WebSocket);
  writeFileSync(`${server.files.folder}/server.key`, 'no key');
  assert.throws(() => server.node.transport.renewCertificates(), /TLS cannot be served with /);
  assert.equal(await subject(server), 'first.test');
  await pinged(socket);
});

test('who speaks plain HTTP to the TLS port gets nothing, and does no harm', async (t) => {
  const server = await served(t, () => ({}));
  await assert.rejects(fetch(`http://127.0.0.1:${server.node.port}/`));
  assert.equal(await subject(server), 'first.test');
});
