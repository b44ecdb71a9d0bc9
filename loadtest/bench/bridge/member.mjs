/**
 * One client process: opens its share of the connections, each in rooms of its own, and tells its parent what
 * happens to them. A plan comes in over IPC; `ready`, `counts` and `failed` go out.
 */
import { LoadSocket } from '../../support/socket.mjs';
import { clientFrame, TEXT } from '../../support/wire.mjs';

const AT_ONCE = 50;
const BATCH = 200;

const counts = { events: 0, gaps: 0, errors: 0, closed: 0 };
const KINDS = { event: 'events', gap: 'gaps', error: 'errors' };

function received(payload) {
  const parsed = JSON.parse(payload.toString());
  for (const { type } of Array.isArray(parsed) ? parsed : [parsed]) {
    const count = KINDS[type];
    if (count !== undefined) counts[count]++;
  }
}

async function open({ address, prefix, each }, index) {
  let waiting = each;
  let joined;
  const done = new Promise((resolve, reject) => {
    joined = { resolve, reject };
  });
  const socket = new LoadSocket(address, {
    closed: (why) => {
      counts.closed++;
      joined.reject(new Error(why));
    },
    frame: (payload) => {
      const text = payload.toString('latin1');
      if (text.includes('"error"')) joined.reject(new Error(text));
      waiting -= text.split('"type":"joined"').length - 1;
      if (waiting === 0) joined.resolve();
    },
  });
  socket.walker.wants = true;
  await socket.open();
  for (let at = 0; at < each; at += BATCH) {
    const size = Math.min(BATCH, each - at);
    const batch = Array.from({ length: size }, (_, n) => ({
      type: 'join',
      room: `${prefix}:${index}:${at + n}`,
    }));
    socket.send(clientFrame(Buffer.from(JSON.stringify(batch)), TEXT));
  }
  await done;
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
