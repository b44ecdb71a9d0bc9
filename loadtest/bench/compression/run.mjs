/**
 * What permessage-deflate costs: CPU per delivery of a fan-out and memory per connection, with bare uWebSockets.js;
 * then (`history`) CPU and bytes of the broker's history answers with compression.mode off and unicast. loadtest/README.md has more.
 */
import { connect } from 'node:net';
import { WebSocket } from 'ws';
import { cpuSeconds, residentBytes, startBroker, startServer } from '../../support/process.mjs';
import { median, sleep, table } from '../../support/stats.mjs';
import { mint } from '../../support/token.mjs';
import { clientFrame, FrameWalker, handshake } from '../../support/wire.mjs';

const SUBSCRIBERS = 500;
const ROUNDS = 5;
const OFFER = 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n';

/** A raw connection that offers compression and counts what comes. */
function open(address) {
  return new Promise((resolve, reject) => {
    const socket = connect(address.port, address.host);
    const walker = new FrameWalker({ frame() {}, ping() {}, closed() {} });
    let upgraded = false;
    socket.on('error', reject);
    socket.on('connect', () =>
      socket.write(handshake({ path: '/', ...address }).replace(/\r\n\r\n$/, `\r\n${OFFER}\r\n`)),
    );
    socket.on('data', (chunk) => {
      if (upgraded) return walker.push(chunk, chunk.length);
      upgraded = true;
      resolve({ socket, walker });
    });
  });
}

async function openMany(address, count) {
  const all = [];
  while (all.length < count) {
    const size = Math.min(100, count - all.length);
    all.push(...(await Promise.all(Array.from({ length: size }, () => open(address)))));
  }
  return all;
}

/** Microseconds of server CPU, and bytes, per delivery. */
async function fanOut(compressor, bytes) {
  const server = await startServer(compressor, ['loadtest/bench/compression/bare.mjs', compressor, bytes], {
    core: 0,
  });
  const readers = await openMany(server.listen, SUBSCRIBERS);
  const times = Math.max(1, Math.min(50, Math.round(200_000 / bytes / 10)));
  const samples = [];
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { walker } of readers) walker.reset();
    const before = cpuSeconds(server.pid);
    readers[0].socket.write(clientFrame(Buffer.from(String(times))));
    while (readers.some(({ walker }) => walker.frames < times)) await sleep(5);
    const spent = cpuSeconds(server.pid) - before;
    if (round > 0) samples.push((spent * 1e6) / (times * SUBSCRIBERS));
  }
  const wire = readers[0].walker.bytes / times;
  for (const { socket } of readers) socket.destroy();
  await server.stop();
  return { micros: median(samples), wire };
}

async function memory(compressor) {
  const server = await startServer(compressor, ['loadtest/bench/compression/bare.mjs', compressor, 1024], {
    core: 0,
  });
  const first = await openMany(server.listen, 100);
  await sleep(500);
  const before = residentBytes(server.pid);
  const rest = await openMany(server.listen, 3000);
  // Each has been sent to once: a compressor may be made only then.
  rest[0].socket.write(clientFrame(Buffer.from('2')));
  await sleep(1500);
  const bytes = (residentBytes(server.pid) - before) / rest.length;
  for (const { socket } of [...first, ...rest]) socket.destroy();
  await server.stop();
  return bytes;
}

/** One client that asks for the newest `limit` events, over and over. */
async function history(mode, limit) {
  const broker = await startBroker({
    core: 0,
    env: {
      CARILLON_COMPRESSION__MODE: mode,
      CARILLON_COMPRESSION__THRESHOLDBYTES: '64',
      CARILLON_COMPRESSION__MAXBYTES: '1MiB',
      CARILLON_ROOMS: '[{match: "**", history: {count: 5000}}]',
    },
  });
  const url = `ws://${broker.listen.text}/connect`;
  const socket = new WebSocket(url, 'chat.v1', {
    headers: { Authorization: `Bearer ${await mint('reader')}` },
  });
  let answered = () => {};
  socket.on('message', (data) => {
    if (data.toString('latin1', 0, 30).includes('history')) answered(data.length);
  });
  await new Promise((resolve) => socket.once('open', resolve));
  for (let n = 0; n < limit; n++) socket.send(JSON.stringify({ type: 'pub', room: 'r', payload: chat(n) }));
  const ask = () =>
    new Promise((resolve) => {
      answered = resolve;
      socket.send(JSON.stringify({ type: 'history', room: 'r', limit }));
    });
  await sleep(300);
  let size = 0;
  for (let n = 0; n < 10; n++) size = await ask();
  const asks = limit > 100 ? 100 : 1000;
  const [cpu, wire] = [cpuSeconds(broker.pid), socket._socket.bytesRead];
  for (let n = 0; n < asks; n++) await ask();
  const result = {
    size,
    wire: (socket._socket.bytesRead - wire) / asks,
    micros: ((cpuSeconds(broker.pid) - cpu) * 1e6) / asks,
  };
  socket.terminate();
  await broker.stop();
  return result;
}

/** What people write: nothing repeats but the language. */
function chat(seed) {
  const words =
    'the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not what all were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like him into time has look two more write go see'.split(
      ' ',
    );
  let state = seed * 2654435761 + 1;
  const next = () => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return state / 2147483648;
  };
  return {
    text: Array.from({ length: 12 }, () => words[Math.floor(next() * words.length)]).join(' '),
    at: 1.7e12 + seed * 977,
  };
}

const only = process.argv[2];

async function fanOutTable() {
  const rows = [
    ['fan-out, bytes', 'off, µs', 'shared, µs', '×', 'dedicated 4 KB, µs', '×', 'bytes on the wire, shared'],
  ];
  for (const bytes of [100, 1024, 16_384]) {
    const off = await fanOut('off', bytes);
    const shared = await fanOut('shared', bytes);
    const dedicated = await fanOut('dedicated', bytes);
    const times = (one) => (one.micros / off.micros).toFixed(1);
    rows.push([
      bytes,
      off.micros.toFixed(2),
      shared.micros.toFixed(2),
      times(shared),
      dedicated.micros.toFixed(2),
      times(dedicated),
      Math.round(shared.wire),
    ]);
  }
  console.log(`${table(rows)}\n`);
}

async function memoryTable() {
  const memories = [['compressor', 'bytes per connection']];
  for (const compressor of ['off', 'shared', 'dedicated'])
    memories.push([compressor, Math.round(await memory(compressor))]);
  console.log(`${table(memories)}\n`);
}

async function historyTable() {
  const answers = [
    ['history answer, bytes', 'off, µs', 'unicast, µs', 'more, µs', 'on the wire', 'of plain'],
  ];
  for (const limit of [1, 3, 5, 10, 20, 100, 500, 1000]) {
    const off = await history('off', limit);
    const on = await history('unicast', limit);
    answers.push([
      on.size,
      off.micros.toFixed(0),
      on.micros.toFixed(0),
      (on.micros - off.micros).toFixed(0),
      Math.round(on.wire),
      `${((100 * on.wire) / off.wire).toFixed(0)} %`,
    ]);
  }
  console.log(table(answers));
}

for (const [name, run] of Object.entries({ fanout: fanOutTable, memory: memoryTable, history: historyTable }))
  if (only === undefined || only === name) await run();
process.exit(0);
