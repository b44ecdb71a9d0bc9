/**
 * One client process: opens its share of the connections, each in rooms of its own, and tells its parent what
 * happens to them. A plan comes in over IPC; `ready`, `counts` and `failed` go out.
 */
import { LoadSocket } from '../../support/socket.mjs';
import { clientFrame, TEXT } from '../../support/wire.mjs';

const AT_ONCE = 50;
const BATCH = 200;

const counts = { events: 0, gaps: 0, errors: 0, closed: 0, refused: 0 };
const KINDS = { event: 'events', gap: 'gaps', error: 'errors' };

function received(payload) {
  for (const { type } of framesIn(payload)) {
    const count = KINDS[type];
    if (count !== undefined) counts[count]++;
  }
}

function joins(rooms) {
  const batch = rooms.map((room) => ({ type: 'join', room }));
  return clientFrame(Buffer.from(JSON.stringify(batch)), TEXT);
}

function framesIn(payload) {
  const parsed = JSON.parse(payload.toString());
  return Array.isArray(parsed) ? parsed : [parsed];
}

/** Joins all rooms of one connection; one that is refused for now is asked for again, as the error says. */
function joinAll(socket, rooms) {
  let waiting = rooms.length;
  return new Promise((resolve, reject) => {
    const on = {
      joined: () => {
        if (--waiting === 0) resolve();
      },
      error: (frame) => {
        if (!frame.retry) reject(new Error(JSON.stringify(frame)));
        counts.refused++;
        setTimeout(() => socket.send(joins([frame.room])), frame.retryAfterMs);
      },
    };
    socket.onFrame((payload) => {
      for (const frame of framesIn(payload)) on[frame.type]?.(frame);
    });
    for (let at = 0; at < rooms.length; at += BATCH) socket.send(joins(rooms.slice(at, at + BATCH)));
  });
}

async function open({ address, prefix, each }, index) {
  const closed = () => {
    counts.closed++;
  };
  const socket = new LoadSocket(address, { closed });
  socket.walker.wants = true;
  await socket.open();
  await joinAll(
    socket,
    Array.from({ length: each }, (_, at) => `${prefix}:${index}:${at}`),
  );
  socket.onFrame(received);
}

process.on('message', async ({ plan }) => {
  if (plan === undefined) {
    process.send({ type: 'counts', ...counts });
    return;
  }
  try {
    for (let at = plan.from; at < plan.to; at += AT_ONCE) {
      const size = Math.min(AT_ONCE, plan.to - at);
      await Promise.all(Array.from({ length: size }, (_, n) => open(plan, at + n)));
    }
    process.send({ type: 'ready' });
  } catch (error) {
    process.send({ type: 'failed', why: error.message });
  }
});
process.on('disconnect', () => process.exit(0));
