/** Certificates replaced under a broker that serves: nobody is dropped, new clients get the new ones. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import WebSocket from 'ws';
import { type RunningBroker, withBroker } from '../support/broker.ts';
import { type CertificateFolder, certificateFolder } from '../support/certificates.ts';
import type { Certificate } from '../support/certs.ts';

const CONNECTIONS = 1000;
const AT_ONCE = 50;

const wss = (broker: RunningBroker) => broker.url.replace('ws:', 'wss:');

async function joined(broker: RunningBroker, ca: string, token: string): Promise<Client> {
  const headers = { Authorization: `Bearer ${token}` };
  const socket = new WebSocket(wss(broker), 'chat.v1', { ca, headers });
  const client: Client = { socket, events: [], closed: false };
  socket.on('close', () => {
    client.closed = true;
  });
  const answered = new Promise<void>((resolve) => {
    socket.on('message', (data) => {
      for (const frame of [JSON.parse(String(data))].flat()) {
        if (frame.type === 'joined') resolve();
        if (frame.type === 'event') client.events.push(frame.payload);
      }
    });
  });
  await once(socket, 'open');
  socket.send(JSON.stringify({ type: 'join', room: 'live:all' }));
  await answered;
  return client;
}

const each = (client: Client): Client[] => [client];

/** In the instant of the change TCP may reset who was not accepted yet; a client comes back then. */
function refusedByKernel(error: unknown): Client[] {
  assert.equal((error as NodeJS.ErrnoException).code, 'ECONNRESET');
  return [];
}

interface Client {
  readonly socket: WebSocket;
  readonly events: unknown[];
  closed: boolean;
}

/** The subject of the certificate that a new client sees. */
async function subject(broker: RunningBroker, ca: string): Promise<string> {
  const { port } = new URL(broker.url);
  const socket = connect({ host: '127.0.0.1', port: Number(port), ca });
  await once(socket, 'secureConnect');
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
}

async function eventually(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, what);
    await sleep(50);
  }
}

const publishes = (client: Client, payload: string) =>
  client.socket.send(JSON.stringify({ type: 'pub', room: 'live:all', payload }));

function served(folder: CertificateFolder, name: string, hours?: number) {
  return { tls: { ...folder.write('tls', folder.ca.issue(name, hours)), debounceMs: '50ms' } };
}

test(`a new certificate under ${CONNECTIONS} connections`, async (t) => {
  const folder = certificateFolder(t);
  const { ca } = folder;
  await withBroker({ config: served(folder, 'first.test') }, async (broker) => {
    const token = await broker.token();
    const clients: Client[] = [];
    t.after(() => clients.forEach(({ socket }) => void socket.terminate()));
    while (clients.length < CONNECTIONS) {
      const wave = Array.from({ length: AT_ONCE }, () => joined(broker, ca.cert, token));
      clients.push(...(await Promise.all(wave)));
    }
    // Those that are on their way in while the certificate changes.
    const arriving: Client[] = [];
    let renewed = false;
    const arrivals = (async () => {
      while (!renewed) arriving.push(...(await joined(broker, ca.cert, token).then(each, refusedByKernel)));
    })();
    served(folder, 'second.test');
    await eventually('new clients get the new certificate', async () => {
      return (await subject(broker, ca.cert)) === 'second.test';
    });
    renewed = true;
    await arrivals;
    const late = await joined(broker, ca.cert, token);
    clients.push(...arriving, late);

    publishes(late, 'by the newest');
    publishes(clients[0] as Client, 'by the oldest');
    await eventually('all hear both', () => clients.every(({ events }) => events.length >= 2));
    for (const client of clients)
      assert.deepEqual(client.events.toSorted(), ['by the newest', 'by the oldest']);
    assert.equal(clients.filter(({ closed }) => closed).length, 0);
    const metrics = await (await fetch(`${broker.adminUrl}/metrics`)).text();
    assert.match(metrics, new RegExp(`^carillon_connections ${clients.length}$`, 'm'));
    assert.match(metrics, /^carillon_tls_reloads_total\{outcome="ok"\} 1$/m);
  });
});

test('a bad certificate keeps the old one and is complained of once; an end that is near is warned of', async (t) => {
  const folder = certificateFolder(t);
  const { ca } = folder;
  const config = served(folder, 'first.test', 48);
  await withBroker({ config }, async (broker) => {
    assert.equal(broker.logs.filter((line) => line.includes('are about to end')).length, 1);
    writeFileSync(`${folder.folder}/tls.crt`, 'garbage');
    const complaints = () =>
      broker.logs.filter((line) => line.includes('the certificates stay as they were'));
    await eventually('it is complained of', () => complaints().length > 0);
    assert.match(complaints()[0] ?? '', /tls\.certFile: \S+tls\.crt: it holds no certificate in PEM/);
    assert.equal(await subject(broker, ca.cert), 'first.test');
    const { endsAt, refused } = await figures(broker);
    assert.ok(Math.abs(endsAt - (Date.now() / 1000 + 48 * 3600)) < 600, String(endsAt));
    assert.equal(refused, 1);
    // The next good one is taken.
    served(folder, 'second.test', 480);
    await eventually(
      'a good one is taken again',
      async () => (await subject(broker, ca.cert)) === 'second.test',
    );
    assert.ok((await figures(broker)).endsAt > Date.now() / 1000 + 400 * 3600);
  });
});

/** A mounted secret: the files lead through ..data, and a renewal swaps that link and takes the old folder away. */
function mounted(folder: string): (pair: Certificate) => { certFile: string; keyFile: string } {
  let version = 0;
  return ({ cert, key }) => {
    version += 1;
    mkdirSync(join(folder, `..${version}`));
    writeFileSync(join(folder, `..${version}`, 'tls.crt'), cert);
    writeFileSync(join(folder, `..${version}`, 'tls.key'), key);
    symlinkSync(`..${version}`, join(folder, '..data_tmp'));
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
    if (version === 1) {
      for (const name of ['tls.crt', 'tls.key']) symlinkSync(`..data/${name}`, join(folder, name));
    }
    rmSync(join(folder, `..${version - 1}`), { recursive: true, force: true });
    return { certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
  };
}

test('a mounted secret: renewals are seen each time; a foreign key and an ended certificate are not taken', async (t) => {
  const { ca, folder } = certificateFolder(t);
  const mount = mounted(folder);
  // Nothing is looked at in between: what is seen, the swap has told.
  const tls = { ...mount(ca.issue('first.test')), debounceMs: '50ms', pollMs: '1h' };
  await withBroker({ config: { tls } }, async (broker) => {
    const client = await joined(broker, ca.cert, await broker.token());
    t.after(() => client.socket.terminate());
    const takes = (name: string) =>
      eventually(`${name} is taken`, async () => (await subject(broker, ca.cert)) === name);
    const refuses = async (pair: Certificate, says: RegExp) => {
      mount(pair);
      await eventually(String(says), () => broker.logs.some((line) => says.test(line)));
    };
    mount(ca.issue('second.test'));
    await takes('second.test');
    const foreign = { cert: ca.issue('third.test').cert, key: ca.issue('third.test').key };
    await refuses(foreign, /tls\.keyFile: .*it is not the certificate's key/);
    await refuses(ca.issue('fourth.test', -0.5), /tls\.certFile: .*the certificate has ended on/);
    assert.equal(await subject(broker, ca.cert), 'second.test');
    mount(ca.issue('fifth.test'));
    await takes('fifth.test');
    assert.equal((await figures(broker)).refused, 2);
    publishes(client, 'still here');
    await eventually('the first client hears itself', () => client.events.length === 1);
  });
});

async function figures(broker: RunningBroker): Promise<{ endsAt: number; refused: number }> {
  const metrics = await (await fetch(`${broker.adminUrl}/metrics`)).text();
  const of = (name: string) =>
    Number(new RegExp(`^carillon_${name} (\\S+)$`, 'm').exec(metrics)?.[1] ?? Number.NaN);
  return {
    endsAt: of('tls_certificate_expiry_seconds\\{certificate="default"\\}'),
    refused: of('tls_reloads_total\\{outcome="refused"\\}'),
  };
}
