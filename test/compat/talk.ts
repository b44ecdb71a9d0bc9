/** A talk with a broker, frame by frame: recorded with a former one, held against the present one. */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { RunningBroker } from '../support/broker.ts';

export type Frame = { readonly type: string } & Readonly<Record<string, unknown>>;

export interface Step {
  /** One frame, or a batch. */
  readonly send: object;
  readonly got: readonly Frame[];
}

export const TALK_CONFIG = {
  rooms: [
    { match: 'open:live' },
    { match: 'open:kept', history: { count: 3 } },
    { match: 'open:**', history: { count: 50 } },
  ],
};

/** Everything that chat.v1 had a frame for at its beginning. */
export const SAYINGS: readonly object[] = [
  { type: 'ping', ts: 7, id: 1 },
  { type: 'join', room: 'open:a', id: 2, presence: true, overflow: 'backfill' },
  { type: 'join', room: 'open:a', id: 'again' },
  { type: 'pub', room: 'open:a', id: 3, msgId: 'm-1', payload: { text: 'grüße', n: [1, 2.5, null, true] } },
  { type: 'pub', room: 'open:a', id: 4, msgId: 'm-1', payload: 'again' },
  { type: 'pub', room: 'open:a', id: 5, key: 'k', payload: null, echo: false },
  { type: 'pub', room: 'open:a', id: 6, payload: 'now', ephemeral: true },
  [
    { type: 'pub', room: 'open:a', id: 7, payload: 1 },
    { type: 'pub', room: 'open:a', id: 8, payload: 2 },
  ],
  { type: 'history', room: 'open:a', id: 9, limit: 2 },
  { type: 'history', room: 'open:a', id: 10, after: 0, limit: 1 },
  { type: 'presence', room: 'open:a', id: 11 },
  { type: 'leave', room: 'open:a', id: 12 },
  { type: 'leave', room: 'open:a', id: 13 },
  { type: 'join', room: 'open:a', id: 14, since: { last: 2 } },
  { type: 'leave', room: 'open:a' },
  { type: 'join', room: 'open:a', id: 15, since: { epoch: 'another', seq: 4 } },
  { type: 'join', room: 'open:live', id: 16 },
  { type: 'pub', room: 'open:live', id: 17, payload: 'live' },
  { type: 'history', room: 'open:live', id: 18 },
  { type: 'pub', room: '@echo', id: 19, payload: 'probe' },
  { type: 'join', room: '@talker', id: 20 },
  { type: 'join', room: 'closed:a', id: 21 },
  { type: 'join', room: 'not a room', id: 22 },
  { type: 'pub', room: 'open:a', id: 23 },
  { type: 'dance', id: 24 },
  { type: 'refresh', id: 25, token: 'nonsense' },
  { type: 'pub', room: 'open:a', id: 26, payload: 'x'.repeat(70_000) },
];

/** Each saying, with all that came before the answer to a ping behind it. */
export async function talk(broker: RunningBroker): Promise<Step[]> {
  const allow = ['join', 'pub', 'presence', 'history'];
  const token = await broker.token({ sub: 'talker', rooms: [{ match: 'open:**', allow }] });
  const socket = new WebSocket(broker.url, ['chat.v1', `bearer.${token}`]);
  const frames: Frame[] = [];
  let heard = () => {};
  socket.on('message', (data) => {
    frames.push(...[JSON.parse(String(data)) as Frame].flat());
    heard();
  });
  const until = async (found: () => boolean) => {
    while (!found()) await new Promise<void>((resolve) => (heard = resolve));
  };
  await once(socket, 'open');
  await until(() => frames.length > 0);
  const steps: Step[] = [{ send: [], got: frames.splice(0) }];
  for (const send of SAYINGS) {
    socket.send(JSON.stringify(send));
    // Twice: a pong may overtake the answers of the turn that it comes in.
    for (const ts of ['fence-1', 'fence-2']) {
      socket.send(JSON.stringify({ type: 'ping', ts }));
      await until(() => frames.some((frame) => frame['ts'] === ts));
    }
    const got = frames.splice(0).filter(({ ts }) => !String(ts).startsWith('fence'));
    steps.push({ send: shortened(send), got });
  }
  socket.close();
  return steps;
}

/** Long texts are of no use in a record. */
function shortened(send: object): object {
  return JSON.parse(JSON.stringify(send).replace(/x{100,}/, 'x…')) as object;
}
