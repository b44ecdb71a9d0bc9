import { setTimeout as sleep } from 'node:timers/promises';
import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { decodeToken } from '../../src/bus/nats/subject.ts';
import type { StoredRoom } from './checker.ts';
import type { Payload } from './ledger.ts';

type Rooms = Map<string, { readonly seqs: number[]; readonly messages: number[] }>;

const BATCH = 1000;
const ATTEMPTS = 10;

/** All that the streams hold, room by room, read by the NATS client's own means and not by the broker's. */
export async function readStore(
  servers: readonly string[],
  streams: readonly string[],
): Promise<Map<string, StoredRoom>> {
  const connection = await connect({ servers: [...servers] });
  const rooms: Rooms = new Map();
  try {
    const manager = await jetstreamManager(connection);
    for (const stream of streams) await readStream(manager, stream, rooms);
  } finally {
    await connection.close();
  }
  return rooms;
}

/** A direct get may be answered by a replica that is behind: what does not add up is read again. */
async function readStream(manager: JetStreamManager, stream: string, rooms: Rooms): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const { state } = await manager.streams.info(stream);
    const found: Rooms = new Map();
    const count = await scan(manager, stream, state.first_seq, state.last_seq, found);
    if (count === state.messages) {
      for (const [room, entries] of found) rooms.set(room, entries);
      return;
    }
    if (attempt === ATTEMPTS)
      throw new Error(`${stream} has ${state.messages} messages, ${count} can be read`);
    await sleep(500);
  }
}

async function scan(
  manager: JetStreamManager,
  stream: string,
  first: number,
  last: number,
  rooms: Rooms,
): Promise<number> {
  let count = 0;
  for (let seq = Math.max(1, first); seq <= last; ) {
    const before = count;
    for await (const message of await manager.direct.getBatch(stream, { seq, batch: BATCH })) {
      count++;
      seq = message.seq + 1;
      add(
        rooms,
        decodeToken(message.subject.split('.').at(-1) ?? ''),
        message.seq,
        message.json<Payload>().n,
      );
    }
    if (count === before) break;
  }
  return count;
}

function add(rooms: Rooms, room: string, seq: number, message: number): void {
  const entries = rooms.get(room) ?? { seqs: [], messages: [] };
  if (entries.seqs.length === 0) rooms.set(room, entries);
  entries.seqs.push(seq);
  entries.messages.push(message);
}
