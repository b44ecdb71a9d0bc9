import { nanos } from '@nats-io/nats-core';
import type { UsageSettings } from '../../../broker/usage.ts';
import type { NatsOptions } from '../options.ts';
import type { WantedStream } from '../stream-fit.ts';
import { encodeToken } from '../subject.ts';

/** Records that stand in one message about the present minute. */
export const CHUNK = 200;
/** A chunk of the longest names and numbers. */
const MESSAGE_BYTES = 256 * 1024;
/** Who stores a record a second time does it within seconds; later, readers sort it out. */
const DEDUPE_MS = 120_000;

export class UsageSubjects {
  readonly stream: string;
  readonly all: string;
  /** Records of minutes that are over, of all tenants. */
  readonly records: string;
  /** What nodes have of the present minute. */
  readonly journals: string;
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = `${prefix}.usage`;
    this.stream = `${prefix.toUpperCase()}_USAGE`;
    this.all = `${this.#prefix}.>`;
    this.records = `${this.#prefix}.tenant.*`;
    this.journals = `${this.#prefix}.present.>`;
  }

  tenant(tenant: string): string {
    return `${this.#prefix}.tenant.${encodeToken(tenant)}`;
  }

  journal(node: string, incarnation: string, chunk: number): string {
    return `${this.#prefix}.present.${encodeToken(node)}.${encodeToken(incarnation)}.${chunk}`;
  }
}

/** The stream of the usage; whoever makes out bills reads `<prefix>.usage.tenant.*` of it (docs/operations/usage.md). */
export function usageStream(replicas: number, { prefix }: NatsOptions, usage: UsageSettings): WantedStream {
  const { stream, all } = new UsageSubjects(prefix);
  return {
    name: stream,
    description: 'Carillon: what tenants have used, by the minute',
    subjects: [all],
    retention: 'limits',
    storage: 'file',
    num_replicas: replicas,
    discard: 'old',
    max_age: nanos(usage.ageMs),
    max_bytes: usage.bytes,
    max_msgs: -1,
    max_msgs_per_subject: -1,
    max_msg_size: MESSAGE_BYTES,
    duplicate_window: nanos(DEDUPE_MS),
    allow_direct: true,
    // Each message about the present minute takes the place of the one before, and of no record.
    allow_rollup_hdrs: true,
    deny_delete: true,
    metadata: { 'carillon.schema': '1' },
  };
}
