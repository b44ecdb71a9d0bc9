/** What both bare programs share: names, the streams as the broker makes them, and its way to read two headers. */
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';

const SHARDS = 8;

export function subjectsOf(prefix, rooms) {
  return rooms.map((_, at) => ({
    log: `${prefix}.log.${at % SHARDS}.r${at}`,
    live: `${prefix}.live.${at % SHARDS}.r${at}`,
  }));
}

/** Where the receiver tells the publisher how far it is. */
export function creditsOf(prefix) {
  return `${prefix}.received`;
}

export function dial(servers, name) {
  return connect({ servers, name, noEcho: true, noAsyncTraces: true, inboxPrefix: `_INBOX_${name}` });
}

export async function makeStreams(connection, prefix, replicas) {
  const manager = await jetstreamManager(connection);
  for (let shard = 0; shard < SHARDS; shard++) {
    await manager.streams.add({
      name: `${prefix.toUpperCase()}_${shard}`,
      subjects: [`${prefix}.log.${shard}.>`],
      storage: 'file',
      num_replicas: replicas,
      discard: 'old',
      max_age: 600e9,
      max_bytes: 64 * 1024 * 1024,
      max_msgs_per_subject: 200,
      duplicate_window: 60e9,
      allow_direct: true,
      deny_delete: true,
      republish: { src: `${prefix}.log.${shard}.>`, dest: `${prefix}.live.${shard}.>` },
    });
  }
}

/** Ready-made header bytes, as the client's `publish` takes them. */
export function madeHeaders(text) {
  const bytes = Buffer.from(`NATS/1.0\r\n${text}\r\n\r\n`, 'latin1');
  return { encode: () => bytes };
}

/** The headers as text, without decoding them into a map. */
export function headerText(msg, subjectBytes) {
  const { data } = msg;
  const length = msg.size() - subjectBytes - data.byteLength;
  return Buffer.from(data.buffer, data.byteOffset - length, length).latin1Slice();
}

export function numberAfter(text, name) {
  const at = text.lastIndexOf(name) + name.length;
  return Number(text.slice(at, text.indexOf('\r\n', at)));
}
