import { nanos } from '@nats-io/nats-core';
import type { StateLimits } from '../../../broker/settings.ts';
import type { NatsOptions } from '../options.ts';
import type { WantedStream } from '../stream-fit.ts';
import { HEADER_BYTES } from '../streams.ts';
import { ClusterSubjects } from './names.ts';

const MIN_BYTES = 1024 ** 2;
const DEDUPE_MS = 60_000;

/** The stream that keeps the stores: the last change of each entry, and every change told to all nodes. */
export function stateStream(replicas: number, { prefix }: NatsOptions, limits: StateLimits): WantedStream {
  const { stream, kept, changes } = new ClusterSubjects(prefix);
  return {
    name: stream,
    description: 'Carillon: policies, revocations, bans, keys',
    subjects: [kept],
    retention: 'limits',
    storage: 'file',
    num_replicas: replicas,
    // Full: what is new is refused. The other way round an old ban would be lifted.
    discard: 'new',
    max_age: 0,
    // Subjects and headers come on top of keys and values.
    max_bytes: Math.max(MIN_BYTES, 2 * limits.bytes),
    max_msgs: -1,
    max_msgs_per_subject: 1,
    max_msg_size: limits.valueBytes + HEADER_BYTES,
    duplicate_window: nanos(DEDUPE_MS),
    allow_direct: true,
    allow_msg_ttl: true,
    deny_delete: true,
    republish: { src: kept, dest: changes },
    metadata: { 'carillon.schema': '1' },
  };
}
