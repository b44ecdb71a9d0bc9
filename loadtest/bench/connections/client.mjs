/**
 * One client process: opens its share of the connections and joins their rooms, then counts events for the parent.
 * Spoken to over the IPC channel: a plan comes in; `ready`, `received` and `failed` go out.
 */
import { LoadSocket } from '../../support/socket.mjs';
import { clientFrame, TEXT } from '../../support/wire.mjs';

const AT_ONCE = 100;
/** The broker's limit of frames in one batch is 256. */
const BATCH = 200;

const sockets = [];
let events = 0;
let expected = Number.POSITIVE_INFINITY;

function fail(why) {
  process.send({ type: 'failed', why });
}

function received(payload) {
  const parsed = JSON.parse(payload.toString());
  for (const frame of Array.isArray(parsed) ? parsed : [parsed]) {
    if (frame.type === 'event') events++;
    if (frame.type === 'gap' || frame.type === 'error') fail(JSON.stringify(frame));
  }
  if (events >= expected) {
    expected = Number.POSITIVE_INFINITY;
    process.send({ type: 'received', events });
  }
}

async function open(plan, index) {
  const rooms = plan.rooms.flatMap((pattern) => roomNames(pattern, index));
  let waiting = rooms.length;
  let done;
  const joined = new Promise((resolve) => {
    done = resolve;
  });
  const socket = new LoadSocket(
    { ...plan.address, localAddress: plan.source },
    {
      closed: (why) => fail(`connection ${index}: ${why}`),
      frame: (payload) => {
        const text = payload.toString('latin1');
        if (text.includes('"error"')) fail(text);
        waiting -= text.split('"type":"joined"').length - 1;
        if (waiting === 0) done();
      },
    },
  );
  socket.walker.wants = true;
  await socket.open();
  for (let at = 0; at < rooms.length; at += BATCH) {
    const batch = rooms.slice(at, at + BATCH).map((room) => ({ type: 'join', room }));
    socket.send(clientFrame(Buffer.from(JSON.stringify(batch)), TEXT));
  }
  await joined;
  socket.onFrame(received);
  sockets.push(socket);
}

/** `{ name, own, shared }`: one common room, `own` rooms of this connection alone, or one of `shared` rooms. */
function roomNames({ name, own, shared }, index) {
  if (own !== undefined) return Array.from({ length: own }, (_, n) => `${name}:${index}:${n}`);
  return [shared === undefined ? name : `${name}:${index % shared}`];
}

process.on('message', async (plan) => {
  try {
    for (let at = plan.from; at < plan.to; at += AT_ONCE) {
      const size = Math.min(AT_ONCE, plan.to - at);
      await Promise.all(Array.from({ length: size }, (_, n) => open(plan, at + n)));
    }
    expected = sockets.length;
    process.send({ type: 'ready', connections: sockets.length });
  } catch (error) {
    fail(error.message);
  }
});
process.on('disconnect', () => process.exit(0));
