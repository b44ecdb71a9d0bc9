/** A process full of members of one room. It makes them leave and come back, and keeps when it did. */
import { micros } from '../../support/events.mjs';
import { LoadSocket } from '../../support/socket.mjs';
import { inTurn, sleep } from '../../support/stats.mjs';
import { clientFrame, TEXT } from '../../support/wire.mjs';
import { serveCommands } from '../../support/worker.mjs';

/** Handshakes under way at once: the backlog of a listener is 512. */
const AT_ONCE = 100;
const TICK_MS = 5;
const AWAY_MS = 1000;

/** Sockets by user. */
const members = new Map();
const lost = new Set();
/** Who has been there longest goes first: nobody comes and goes within one batch. */
const here = [];
/** `[user, 'joined' | 'left', microseconds]`, in order. */
let log = [];
let frames;

async function open({ user, token, address, pod, room }) {
  let joined;
  const answered = new Promise((resolve, reject) => {
    joined = { resolve, reject };
  });
  const socket = new LoadSocket(
    { ...address, path: '/connect', protocol: 'chat.v1', token },
    {
      closed: (why) => {
        joined.reject(new Error(`${user}: ${why}`));
        if (!lost.has(pod)) console.error(`${user}: ${why}`);
      },
      frame: (payload) => payload.includes('"joined"') && joined.resolve(),
    },
  );
  socket.walker.wants = true;
  await socket.open();
  socket.send(JSON.stringify({ type: 'join', room }));
  await answered;
  // What comes from here on, a left and a joined each time, is not looked at.
  socket.walker.wants = false;
  members.set(user, socket);
  here.push(user);
}

function change(user, how) {
  members.get(user).send(how === 'left' ? frames.leave : frames.join);
  log.push([user, how, micros()]);
}

const commands = {
  async open({ people, room }) {
    const frame = (fields) => clientFrame(Buffer.from(JSON.stringify({ ...fields, room })), TEXT);
    frames = { join: frame({ type: 'join' }), leave: frame({ type: 'leave' }) };
    await inTurn(people, AT_ONCE, (person) => open({ ...person, room }));
  },

  /** `rate` members leave each second, and each is back a second later. Resolves when all are. */
  async churn({ rate, seconds }) {
    log = [];
    const away = [];
    const begun = performance.now();
    for (let left = 0; left < rate * seconds || away.length > 0; ) {
      const now = performance.now();
      const due = Math.min(rate * seconds, ((now - begun) / 1000) * rate);
      for (; left < due; left++) {
        const user = here.shift();
        change(user, 'left');
        away.push({ user, until: now + AWAY_MS });
      }
      while (away[0]?.until <= now) {
        const { user } = away.shift();
        change(user, 'joined');
        here.push(user);
      }
      await sleep(TICK_MS);
    }
    return log;
  },

  /** The pod is about to die, and its members do not come back. */
  lose({ pod }) {
    lost.add(pod);
  },
};

serveCommands(commands);
