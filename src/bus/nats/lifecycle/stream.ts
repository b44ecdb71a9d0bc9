import { nanos } from '@nats-io/nats-core';
import type { LifecycleSettings } from '../../../broker/settings.ts';
import type { NatsOptions } from '../options.ts';
import type { WantedStream } from '../stream-fit.ts';
import { encodeToken } from '../subject.ts';

/** In it an event that is told twice is kept once: longer than a node that dies over telling it is missed. */
const DEDUPE_MS = 300_000;
const MESSAGE_BYTES = 256 * 1024;

export class LifecycleSubjects {
  readonly stream: string;
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
    this.stream = `${prefix.toUpperCase()}_LIFECYCLE`;
  }

  /** All that the stream captures: events, and what a webhook did not take. */
  get captured(): string[] {
    return [`${this.#prefix}.life.>`, `${this.#prefix}.undelivered.>`];
  }

  event(run: string, tenant: string): string {
    return `${this.#prefix}.life.${encodeToken(run)}.${encodeToken(tenant)}`;
  }

  run(run: string): string {
    return `${this.#prefix}.life.${encodeToken(run)}.>`;
  }

  undelivered(node: string): string {
    return `${this.#prefix}.undelivered.${encodeToken(node)}`;
  }
}

/** The stream of what becomes of sessions and rooms. */
export function lifecycleStream(
  replicas: number,
  { prefix }: NatsOptions,
  { ageMs, bytes }: Pick<LifecycleSettings, 'ageMs' | 'bytes'>,
): WantedStream {
  const subjects = new LifecycleSubjects(prefix);
  return {
    name: subjects.stream,
    description: 'Carillon: sessions and rooms, what became of them',
    subjects: subjects.captured,
    retention: 'limits',
    storage: 'file',
    num_replicas: replicas,
    discard: 'old',
    max_age: nanos(ageMs),
    max_bytes: bytes,
    max_msgs: -1,
    max_msgs_per_subject: -1,
    max_msg_size: MESSAGE_BYTES,
    duplicate_window: nanos(Math.min(DEDUPE_MS, ageMs)),
    allow_direct: true,
    deny_delete: true,
    metadata: { 'carillon.schema': '1' },
  };
}
