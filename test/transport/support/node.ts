/**
 * The transport as a child process, with sessions just big enough to publish and to listen. The parent asks over
 * IPC what it counts, and may have it publish on its own.
 */
import process from 'node:process';
import { Tally } from '../../../src/broker/tally.ts';
import { buildTransport, startTransport } from './parts.ts';
import type { Counts, NodeSettings } from './spawn.ts';

const settings: NodeSettings = JSON.parse(process.argv[2] ?? '{}');
const tally = new Tally();
const failures: string[] = [];
const closes: Record<string, number> = {};
let memberships = 0;

if (settings.publishBeforeListen === true) buildTransport().transport.publish('room', 'hello', 'json');

const { transport, port } = await startTransport(
  {
    tally,
    ...(settings.limits && { limits: settings.limits }),
    log: {
      debug: () => {},
      info: () => {},
      warn: () => {},
      error: (_fields, message) => void failures.push(message),
    },
    idleSeconds: settings.idleSeconds ?? 32,
    ...(settings.compression && { compression: settings.compression }),
    web: (request) => {
      if (request.path === '/throw') throw new Error('a bug');
      if (request.path === '/reject') return Promise.reject(new Error('a late bug'));
      return request.path === '/never' ? new Promise(() => {}) : undefined;
    },
  },
  (connection, identity) => {
    if (identity.user === 'unwelcome') throw new Error('a bug');
    tally.connections++;
    connection.send(`hello ${identity.user}`);
    let joined = 0;
    return {
      // `join room`: from now on all that is published there. `throw`: as a bug in a session would.
      receive: (bytes) => {
        const text = Buffer.from(bytes).toString();
        if (text === 'throw') throw new Error('a bug');
        tally.messagesIn++;
        if (!text.startsWith('join ')) return;
        connection.subscribe(text.slice(5));
        joined++;
        memberships++;
      },
      drained: () => {},
      closed: (code) => {
        tally.connections--;
        memberships -= joined;
        closes[code] = (closes[code] ?? 0) + 1;
      },
    };
  },
);

if (settings.storm !== undefined) storm(settings.storm);

process.on('message', () => {
  const counts: Counts = {
    connections: tally.connections,
    messagesIn: tally.messagesIn,
    deferred: tally.deferred,
    dropped: tally.slow.get('dropped') ?? 0,
    closes,
    upgrades: Object.fromEntries(tally.upgrades),
    failures,
    rss: process.memoryUsage.rss(),
  };
  process.send?.(counts);
});
process.on('disconnect', () => process.exit());
process.send?.({ port });

/** From when enough members are there until none is left: a message into each room, every millisecond. */
function storm({ rooms, bytes, members }: NonNullable<NodeSettings['storm']>): void {
  const payload = 'x'.repeat(bytes);
  let blowing = false;
  setInterval(() => {
    blowing = memberships >= members * rooms || (blowing && memberships > 0);
    if (!blowing) return;
    for (let at = 0; at < rooms; at++) transport.publish(`room${at}`, payload, 'json');
  }, 1);
}
