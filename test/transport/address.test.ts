import assert from 'node:assert/strict';
import { test } from 'node:test';
import { networkOf } from '../../src/broker/exclusion/network.ts';
import { addressOf, clientAddress } from '../../src/transport/address.ts';
import { handshakeText, RawSocket } from '../support/raw-socket.ts';
import { startTransport } from './support/parts.ts';
import { pause } from './support/spawn.ts';

const bytes = (text: string) => new TextEncoder().encode(text).buffer as ArrayBuffer;

test('IPv4 mapped into IPv6 becomes IPv4 again; everything else stays', () => {
  assert.equal(addressOf(bytes('0000:0000:0000:0000:0000:ffff:7f00:0001')), '127.0.0.1');
  assert.equal(addressOf(bytes('0000:0000:0000:0000:0000:ffff:c0a8:fffe')), '192.168.255.254');
  const others = [
    '127.0.0.1',
    '',
    '2001:0db8:0000:0000:0000:ffff:7f00:0001',
    '0000:0000:0000:0000:0000:0000:0000:0001',
    '0000:0000:0000:0000:0000:ffff:7f00:0001:0000',
  ];
  for (const other of others) assert.equal(addressOf(bytes(other)), other);
});

test('behind hops proxies the entry so many from the right counts; what a client wrote never does', () => {
  const forged = '6.6.6.6, 7.7.7.7';
  assert.equal(clientAddress('10.0.0.1', forged, 0), '10.0.0.1');
  assert.equal(clientAddress('10.0.0.1', `${forged}, 1.2.3.4`, 1), '1.2.3.4');
  assert.equal(clientAddress('10.0.0.1', `${forged}, 1.2.3.4 , 10.0.0.9`, 2), '1.2.3.4');
  assert.equal(clientAddress('10.0.0.1', '', 1), '10.0.0.1');
  assert.equal(clientAddress('10.0.0.1', ' , ', 2), '10.0.0.1');
  assert.equal(clientAddress('10.0.0.1', '2001:db8::1', 1), '2001:db8::1');
  // Some proxies write the port.
  assert.equal(clientAddress('10.0.0.1', '1.2.3.4:5678', 1), '1.2.3.4');
  assert.equal(clientAddress('10.0.0.1', '[2001:db8::1]:443', 1), '2001:db8::1');
});

test('fewer entries than proxies: the leftmost, which the outermost of those passed has written', () => {
  assert.equal(clientAddress('10.0.0.1', '1.2.3.4', 3), '1.2.3.4');
});

test('the address of a connection, by the listener and by the header', async (t) => {
  const direct = await startTransport();
  const proxied = await startTransport({ proxyHops: 1 });
  const dual = await startTransport({ host: '::' });
  t.after(() => {
    for (const { transport } of [direct, proxied, dual]) transport.close();
  });
  const addressAt = async (node: typeof direct, lines?: string | string[]) => {
    const client = await RawSocket.upgraded(node.port, { headers: { 'X-Forwarded-For': lines } });
    client.destroy();
    return node.guest().connection.address;
  };
  assert.equal(await addressAt(direct, '6.6.6.6'), '127.0.0.1');
  assert.equal(await addressAt(dual), '127.0.0.1');
  assert.equal(await addressAt(proxied, '6.6.6.6, 1.2.3.4'), '1.2.3.4');
  // A proxy may add a line of its own below the one that the client sent, instead of an entry.
  assert.equal(await addressAt(proxied, ['6.6.6.6', '1.2.3.4']), '1.2.3.4');
});

test('C1.12 a PROXY header is nobody’s word for the address', async (t) => {
  const node = await startTransport();
  t.after(() => node.transport.close());
  const client = await RawSocket.open(node.port);
  t.after(() => client.destroy());
  // Version 2, from 6.6.6.6 to 127.0.0.1 over TCP.
  const header = Buffer.from('0d0a0d0a000d0a515549540a2111000c060606067f00000100500051', 'hex');
  client.send(Buffer.concat([header, Buffer.from(handshakeText())]));
  assert.equal((await client.answer()).status, 101);
  assert.equal(node.guest().connection.address, '127.0.0.1');
});

test('limits count IPv4 as it is, IPv6 by 64 bits, however it is written, and this machine not at all', () => {
  const networks: readonly [string, string | undefined][] = [
    ['203.0.113.7', '203.0.113.7'],
    ['127.0.0.1', undefined],
    ['127.9.9.9', undefined],
    ['::1', undefined],
    ['0000:0000:0000:0000:0000:0000:0000:0001', undefined],
    ['2001:db8::1', '2001:db8:0:0'],
    ['2001:0DB8:0000:0000:ffff:0000:0000:0001', '2001:db8:0:0'],
    ['[2001:db8:0:1::5]', '2001:db8:0:1'],
    ['1::2:3:4:5:6:7', '1:0:2:3'],
    ['::', '0:0:0:0'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['::ffff:7f00:1', undefined],
    ['unknown', 'unknown'],
    ['a:b', 'a:b'],
    ['x'.repeat(1000), 'x'.repeat(64)],
    [`${':'.repeat(1000)}`, ':'.repeat(64)],
  ];
  for (const [address, network] of networks) assert.equal(networkOf(address), network, address);
});

test('connections per address are free again when they close', async (t) => {
  const address = { connections: 2, attempts: { perSecond: 0, burst: 0 }, entries: 100 };
  const node = await startTransport({ proxyHops: 1, limits: { address } });
  t.after(() => node.transport.close());
  const from = { headers: { 'X-Forwarded-For': '203.0.113.7' } };
  const clients = [await RawSocket.upgraded(node.port, from), await RawSocket.upgraded(node.port, from)];
  await assert.rejects(RawSocket.upgraded(node.port, from), /429/);
  const elsewhere = await RawSocket.upgraded(node.port, { headers: { 'X-Forwarded-For': '203.0.113.8' } });
  clients[0]?.destroy();
  while (node.guests[0]?.closed === undefined) await pause(10);
  const again = await RawSocket.upgraded(node.port, from);
  assert.equal(node.tally.refusals.get('address_connections'), 1);
  for (const client of [...clients, elsewhere, again]) client.destroy();
});
