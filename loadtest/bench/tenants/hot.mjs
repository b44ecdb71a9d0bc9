/** A process that plays the hot tenant: receivers that read as fast as they can, publishers that never wait longer than they must. */
import { LoadSocket } from '../../support/socket.mjs';
import { serveCommands } from '../../support/worker.mjs';

/** Publishes of each publisher on their way at once: as soon as one is answered, another one follows. */
const WINDOW = 60;
const BATCH = 10;
const ROOM = 'live:hot';

const sockets = [];
const fills = [];
const counts = { acked: 0, refused: 0 };
let running = false;

async function open(address, token, frame) {
  const closed = (why) => console.error(`a client of the hot tenant: ${why}`);
  const socket = new LoadSocket({ ...address, path: '/connect', protocol: 'chat.v1', token }, { closed });
  await socket.open();
  socket.walker.wants = frame !== undefined;
  if (frame) socket.onFrame(frame);
  sockets.push(socket);
  return socket;
}

async function publisher(address, token, batch) {
  let onTheirWay = 0;
  const fill = () => {
    for (; running && onTheirWay <= WINDOW - BATCH; onTheirWay += BATCH) socket.send(batch);
  };
  const socket = await open(address, token, (payload) => {
    for (const { type } of [JSON.parse(payload)].flat()) {
      if (type !== 'ack' && type !== 'error') continue;
      counts[type === 'ack' ? 'acked' : 'refused']++;
      onTheirWay--;
    }
    fill();
  });
  fills.push(fill);
}

const commands = {
  open: async ({ address, receivers, publishers, bytes }) => {
    for (const token of receivers)
      (await open(address, token)).send(JSON.stringify({ type: 'join', room: ROOM, overflow: 'skip' }));
    const frame = { type: 'pub', room: ROOM, payload: 'x'.repeat(bytes) };
    const batch = JSON.stringify(Array.from({ length: BATCH }, () => frame));
    for (const token of publishers) await publisher(address, token, batch);
  },
  start: () => {
    running = true;
    for (const fill of fills) fill();
  },
  counts: () => ({ ...counts }),
  stop: () => {
    running = false;
    for (const socket of sockets) socket.end();
  },
};

serveCommands(commands);
