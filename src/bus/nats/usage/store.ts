/**
 * The usage in a stream of NATS: for each record a message under a subject of its tenant, and for each running node
 * messages with what it has of the present minute. What a dead node has left of the latter, any other stores.
 */
import type { Msg } from '@nats-io/nats-core';
import type { Clock, Log } from '../../../broker/ports.ts';
import {
  type EachRecord,
  idOf,
  isWanted,
  readRecord,
  STEPS,
  type UsageQuery,
  type UsageRecord,
  type UsageSettings,
  type UsageStore,
} from '../../../broker/usage.ts';
import { OwnUsage } from '../../usage/own.ts';
import { type NoAnswer, Requests } from '../acks.ts';
import type { Link } from '../connection.ts';
import { readDirect } from '../direct.ts';
import { type Env, environment } from '../env.ts';
import { lastValue, numberIn, payloadText, SEQUENCE, SUBJECT } from '../headers.ts';
import type { PubAck } from '../jetstream.ts';
import type { NatsOptions } from '../options.ts';
import { Streams, withoutHistory } from '../streams.ts';
import { encodeToken } from '../subject.ts';
import type { Cancel, Timers } from '../timers.ts';
import { CHUNK, UsageSubjects, usageStream } from './stream.ts';

export interface NatsUsageParts {
  /** Of the bus, which must have been started before and is closed after. */
  readonly link: () => Link;
  readonly options: NatsOptions;
  readonly settings: UsageSettings;
  readonly node: string;
  readonly incarnation: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly timers?: Timers;
}

const ACK_MS = 2000;
const PAGE = 1000;
const PAGE_BYTES = 1024 * 1024;
/** Two elections may lie between a minute and the moment in which its records are stored; a day is plenty. */
const LATE_MS = STEPS.day;
const RECREATE_MS = 5000;
/** So often a node looks for what dead ones have left. */
const ADOPT_EVERY_MS = 5 * STEPS.minute;
/** Who has said nothing of a minute for so long is dead: the living tell theirs every usage.flushMs. */
const DEAD_MS = 10 * STEPS.minute;

interface Running {
  readonly link: Link;
  readonly requests: Requests;
  readonly streams: Streams;
}

/** Gives whether more are wanted. */
type EachMessage = (value: unknown, subject: string) => boolean;

interface Journal {
  readonly subject: string;
  readonly records: readonly UsageRecord[];
}

export class NatsUsage implements UsageStore {
  readonly #parts: NatsUsageParts;
  readonly #env: Env;
  readonly #subjects: UsageSubjects;
  #running: Running | undefined;
  /** In the place of a stream where NATS cannot keep one. */
  #own: OwnUsage | undefined;
  /** Messages that say something of the present minute now. */
  #chunks = 0;
  #recreatedAt = Number.NEGATIVE_INFINITY;
  readonly #stops: Cancel[] = [];

  constructor(parts: NatsUsageParts) {
    this.#parts = parts;
    this.#env = environment(parts.clock, parts.log, parts.timers);
    this.#subjects = new UsageSubjects(parts.options.prefix);
  }

  async start(): Promise<void> {
    const { options, settings, log, incarnation } = this.#parts;
    const link = this.#parts.link();
    const cannot = withoutHistory(link.connection);
    if (cannot !== undefined) {
      log.warn(
        { reason: cannot },
        'NATS cannot keep the usage of tenants: each node has its own, until it ends',
      );
      this.#own = new OwnUsage(settings.records);
      return;
    }
    const plan = (replicas: number) => [usageStream(replicas, options, settings)];
    const streams = new Streams(link.connection, options, plan, link.wider);
    await streams.ensured(options.startTimeoutMs, this.#env);
    const inbox = `${options.prefix}.ctl.re.${encodeToken(`${incarnation}-usage`)}`;
    const requests = new Requests(link.connection, inbox, this.#env, link.outlet);
    this.#running = { link, requests, streams };
    this.#stops.push(
      () => requests.close(),
      link.watch({ lost: () => requests.lost(), back: () => undefined }),
      this.#env.timers.every(ADOPT_EVERY_MS, () => void this.#adopt()),
    );
  }

  async keep(records: readonly UsageRecord[]): Promise<boolean> {
    if (this.#own !== undefined) return this.#own.keep(records);
    return this.#store(records, '');
  }

  async journal(records: readonly UsageRecord[]): Promise<boolean> {
    if (this.#own !== undefined) return this.#own.journal(records);
    const { node, incarnation } = this.#parts;
    const chunks = Math.ceil(records.length / CHUNK);
    const written = await Promise.all(
      Array.from({ length: Math.max(chunks, this.#chunks) }, (_, chunk) =>
        this.#write(
          this.#subjects.journal(node, incarnation, chunk),
          records.slice(chunk * CHUNK, (chunk + 1) * CHUNK),
          'Nats-Rollup: sub',
        ),
      ),
    );
    const all = written.every(Boolean);
    this.#chunks = all ? chunks : Math.max(chunks, this.#chunks);
    return all;
  }

  async read(query: UsageQuery, each: EachRecord): Promise<boolean> {
    if (this.#own !== undefined) return this.#own.read(query, each);
    let wanted = true;
    const take = (record: UsageRecord) => {
      if (isWanted(query, record)) wanted = each(record);
      return wanted && record.minute < query.to + LATE_MS;
    };
    const { tenant } = query;
    const filter = tenant === undefined ? this.#subjects.records : this.#subjects.tenant(tenant);
    const read = await this.#pages(filter, query.from, (value) => {
      const record = readRecord(value);
      return record === undefined || take(record);
    });
    if (!read || !wanted) return read;
    return this.#journals(query.from, ({ records }) => records.every(take));
  }

  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop();
    this.#running = undefined;
  }

  #store(records: readonly UsageRecord[], suffix: string): Promise<boolean> {
    const writes = records.map((record) =>
      this.#write(this.#subjects.tenant(record.tenant), record, `Nats-Msg-Id: ${idOf(record)}${suffix}`),
    );
    return Promise.all(writes).then((written) => written.every(Boolean));
  }

  async #write(subject: string, value: unknown, header: string): Promise<boolean> {
    const { link, requests } = this.#running ?? {};
    if (requests === undefined || link?.connected() !== true) return false;
    const headers = Buffer.from(`NATS/1.0\r\n${header}\r\n\r\n`, 'latin1');
    return this.#taken(await requests.answer(subject, JSON.stringify(value), headers, ACK_MS));
  }

  #taken(answer: Msg | NoAnswer): boolean {
    if (answer === 'nobody') void this.#recreate();
    if (typeof answer === 'string') return false;
    const { seq, error } = answer.json<PubAck>();
    if (error !== undefined) this.#env.log.warn({ error }, 'the stream of the usage refuses a record');
    return error === undefined && seq !== undefined;
  }

  /** Nobody takes records: an election, or the stream is gone. */
  async #recreate(): Promise<void> {
    const { env, running } = { env: this.#env, running: this.#running };
    if (running === undefined || env.ticks() - this.#recreatedAt < RECREATE_MS) return;
    this.#recreatedAt = env.ticks();
    await running.streams
      .recreate(this.#subjects.stream)
      .catch((error: unknown) => env.log.warn({ err: error }, 'the stream of the usage cannot be looked at'));
  }

  /** Messages stored since then; `each` gives whether more are wanted. false: they cannot be read now. */
  async #pages(filter: string, since: number, each: EachMessage): Promise<boolean> {
    let from: number | 'end' | undefined = await this.#page(
      { start_time: new Date(Math.max(0, since)).toISOString(), next_by_subj: filter },
      each,
    );
    while (typeof from === 'number') from = await this.#page({ seq: from, next_by_subj: filter }, each);
    return from === 'end';
  }

  /** Where the next page begins; undefined: it cannot be read now. */
  async #page(request: object, each: EachMessage): Promise<number | 'end' | undefined> {
    const { link, requests } = this.#running ?? {};
    if (requests === undefined || link?.connected() !== true) return undefined;
    let last = 0;
    let wanted = true;
    const whole = { ...request, batch: PAGE, max_bytes: PAGE_BYTES };
    const end = await readDirect(requests, this.#subjects.stream, whole, (msg, text) => {
      last = numberIn(text, SEQUENCE) ?? last;
      wanted &&= each(parsed(payloadText(msg)), lastValue(text, SUBJECT) ?? '');
    });
    if (typeof end === 'string' || (end.status !== 204 && end.status !== 404)) return undefined;
    return wanted && last > 0 && end.pending > 0 ? last + 1 : 'end';
  }

  #journals(since: number, each: (journal: Journal) => boolean): Promise<boolean> {
    return this.#pages(this.#subjects.journals, since, (value, subject) => {
      const records = Array.isArray(value) ? value.flatMap((one) => readRecord(one) ?? []) : [];
      return each({ subject, records });
    });
  }

  /** Stores what dead nodes have left, and takes it from where they had it. Several nodes may do so at once. */
  async #adopt(): Promise<void> {
    const { clock, incarnation } = this.#parts;
    const left: Journal[] = [];
    const dead = (record: UsageRecord | undefined) =>
      record !== undefined && record.incarnation !== incarnation && record.minute < clock.now() - DEAD_MS;
    await this.#journals(0, (journal) => {
      if (dead(journal.records[0])) left.push(journal);
      return true;
    });
    for (const { subject, records } of left) {
      // By another id: if the node was only cut off, its own record of the minute is the fuller one.
      if (!(await this.#store(records, ':left'))) return;
      await this.#write(subject, [], 'Nats-Rollup: sub');
    }
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not one of ours.
    return undefined;
  }
}
