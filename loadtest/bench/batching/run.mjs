/**
 * What waiting for more events is worth: packets (TCP segments of this network namespace), frames and server CPU per
 * event delivered, over the ceilings of a room; and of clients that come back to many rooms, over those of a catch-up.
 * loadtest/README.md has more.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { parseArgs } from 'node:util';
import { cpuSeconds, startBroker } from '../../support/process.mjs';
import { median, sleep, table } from '../../support/stats.mjs';
import { mint } from '../../support/token.mjs';
import { clientFrame, FrameWalker, handshake } from '../../support/wire.mjs';

const ROUNDS = 3;
const CEILINGS = [0, 5, 10, 20];

/** TCP segments sent in this network namespace: the server's, the clients' and their acknowledgements. */
function segments() {
  const [names, values] = readFileSync('/proc/net/snmp', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('Tcp:'))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf('OutSegs')]);
}

class Client {
  /** Events and other frames of interest, counted in the raw text. */
  events = 0;
  caughtUp = 0;
  frames = 0;

  static open(listen, token) {
    const client = new Client();
    client.walker = new FrameWalker(
      {
        frame: (payload) => client.take(payload.toString()),
        ping: (pong) => client.socket.write(pong),
        closed: (code, reason) => {
          throw new Error(`closed: ${code} ${reason}`);
        },
      },
      true,
    );
    return new Promise((resolve, reject) => {
      client.socket = connect({ port: listen.port, host: listen.host, noDelay: true });
      client.socket.on('error', reject);
      client.socket.on('connect', () =>
        client.socket.write(handshake({ path: '/connect', protocol: 'chat.v1', token, ...listen })),
      );
      let head = Buffer.alloc(0);
      client.socket.on('data', (chunk) => {
        if (head === undefined) return client.walker.push(chunk, chunk.length);
        head = Buffer.concat([head, chunk]);
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        const rest = head.subarray(end + 4);
        head = undefined;
        client.walker.push(rest, rest.length);
        resolve(client);
      });
    });
  }

  take(text) {
    this.frames++;
    this.events += text.split('{"type":"event"').length - 1;
    this.caughtUp += text.split('{"type":"caught_up"').length - 1;
  }

  say(frame) {
    this.socket.write(clientFrame(Buffer.from(JSON.stringify(frame))));
  }
}

async function until(done) {
  for (let tries = 0; !done(); tries++) {
    if (tries > 5000) throw new Error('too late');
    await sleep(2);
  }
}

const env = (roomMs, catchUpMs) => ({
  CARILLON_ROOMS: JSON.stringify([
    { match: 'live:**', batchMs: roomMs },
    { match: '**', history: { count: 200 } },
  ]),
  CARILLON_DELIVERY__BATCHMS: String(catchUpMs),
});

/** A room with many writers that know nothing of one another: 1,000 messages a second, one at a time. */
async function chatter(batchMs, { subscribers, perSecond, seconds }) {
  const broker = await startBroker({ core: 0, env: env(batchMs, 0) });
  const token = await mint('reader');
  const readers = [];
  for (let n = 0; n < subscribers; n++) readers.push(await Client.open(broker.listen, token));
  for (const reader of readers) reader.say({ type: 'join', room: 'live:r' });
  const writer = await Client.open(broker.listen, token);
  await sleep(500);
  const samples = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const reader of readers) Object.assign(reader, { events: 0, frames: 0 });
    const [cpu, sent] = [cpuSeconds(broker.pid), segments()];
    const started = performance.now();
    let published = 0;
    while (performance.now() - started < seconds * 1000) {
      const owed = Math.floor(((performance.now() - started) * perSecond) / 1000);
      if (published < owed) {
        writer.say({ type: 'pub', room: 'live:r', payload: { n: published, text: 'x'.repeat(60) } });
        published++;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => readers.every(({ events }) => events === published));
    const deliveries = published * subscribers;
    samples.push({
      micros: ((cpuSeconds(broker.pid) - cpu) * 1e6) / deliveries,
      segments: (segments() - sent) / deliveries,
      frames: readers[0].frames / published,
      rate: published / seconds,
    });
  }
  for (const { socket } of [...readers, writer]) socket.destroy();
  await broker.stop();
  const of = (name) => median(samples.map((sample) => sample[name]));
  return { micros: of('micros'), segments: of('segments'), frames: of('frames'), rate: of('rate') };
}

/** Clients that come back to many rooms at once, each with a few events to catch up. */
async function comeBack(batchMs, { clients, rooms, events }) {
  const broker = await startBroker({ core: 0, env: env(0, batchMs) });
  const token = await mint('reader');
  const writer = await Client.open(broker.listen, token);
  for (let room = 0; room < rooms; room++)
    for (let n = 0; n < events; n++)
      writer.say({ type: 'pub', room: `r${room}`, payload: { n, text: 'x'.repeat(60) } });
  await sleep(500);
  const samples = [];
  for (let round = 0; round < ROUNDS; round++)
    samples.push(await oneReturn(broker, token, { clients, rooms, events }));
  writer.socket.destroy();
  await broker.stop();
  const of = (name) => median(samples.map((sample) => sample[name]));
  return { micros: of('micros'), segments: of('segments'), frames: of('frames'), ms: of('ms') };
}

async function oneReturn(broker, token, { clients, rooms, events }) {
  const back = [];
  for (let n = 0; n < clients; n++) back.push(await Client.open(broker.listen, token));
  await sleep(200);
  for (const client of back) client.frames = 0;
  const [cpu, sent, started] = [cpuSeconds(broker.pid), segments(), performance.now()];
  // A frame each, as a client does that joins as its user goes along.
  for (let room = 0; room < rooms; room++) {
    for (const client of back) client.say({ type: 'join', room: `r${room}`, since: { last: events } });
    if (room % 5 === 4) await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => back.every(({ caughtUp }) => caughtUp === rooms));
  const joins = clients * rooms;
  if (back.some((client) => client.events !== rooms * events)) throw new Error('events are missing');
  const sample = {
    micros: ((cpuSeconds(broker.pid) - cpu) * 1e6) / joins,
    segments: (segments() - sent) / joins,
    frames: back.reduce((sum, one) => sum + one.frames, 0) / joins,
    ms: performance.now() - started,
  };
  for (const { socket } of back) socket.destroy();
  await sleep(200);
  return sample;
}

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    subscribers: { type: 'string', default: '200' },
    rate: { type: 'string', default: '1000' },
    'batch-ms': { type: 'string', default: CEILINGS.join() },
  },
});
const [subscribers, perSecond] = [Number(flags.subscribers), Number(flags.rate)];

const rooms = [
  ['batchMs of the room', 'msg/s', 'frames per event', 'segments per delivery', 'CPU, µs per delivery'],
];
for (const ms of flags['batch-ms'].split(',').map(Number)) {
  const one = await chatter(ms, { subscribers, perSecond, seconds: 2 });
  rooms.push([
    ms,
    one.rate.toFixed(0),
    one.frames.toFixed(3),
    one.segments.toFixed(3),
    one.micros.toFixed(2),
  ]);
}
console.log(`${table(rooms)}\n`);
if (flags.only === 'rooms') process.exit(0);
const backs = [
  ['delivery.batchMs', 'frames per join', 'segments per join', 'CPU, µs per join', 'all back, ms'],
];
for (const ms of CEILINGS) {
  const one = await comeBack(ms, { clients: 100, rooms: 50, events: 5 });
  backs.push([ms, one.frames.toFixed(2), one.segments.toFixed(2), one.micros.toFixed(0), one.ms.toFixed(0)]);
}
console.log(table(backs));
process.exit(0);
