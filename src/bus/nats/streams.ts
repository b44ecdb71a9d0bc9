/** The streams that keep the history: what they must be, whether they are, and making them so. */
import {
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  type StreamInfo,
} from '@nats-io/jetstream';
import { type NatsConnection, nanos } from '@nats-io/nats-core';
import type { HistoryPolicy, RoomPolicy } from '../../broker/settings.ts';
import { withNotice } from '../../broker/wait-notice.ts';
import type { Env } from './env.ts';
import type { NatsOptions } from './options.ts';
import { forbidden, givenUp, isForbidden, isPassing, reasonOf } from './stream-errors.ts';
import { type Narrowing, type StreamFit, streamChange, streamFit, type WantedStream } from './stream-fit.ts';
import { updateStream } from './stream-update.ts';
import { Subjects } from './subject.ts';

/** Batch direct get, by which history is read, came with this level of the API. A fork's version says nothing of it. */
const HISTORY_API_LEVEL = 1;

/** Headers of ours and of the server beside the payload. */
export const HEADER_BYTES = 4096;
const API_TIMEOUT_MS = 5000;
const ENSURE_RETRY_MS = 500;

/** What the streams have to keep: the most that any room may. Each room's own bounds are applied on reading. */
export interface Retention {
  readonly count: number;
  readonly ageMs: number;
  readonly payloadBytes: number;
  readonly dedupeWindowMs: number;
  /** Whether a room may keep cursors: an inbox does unless its policy says otherwise, and any pattern may match one. */
  readonly cursors: boolean;
}

/** undefined: no room has a history. */
export function retentionOf(
  policies: readonly RoomPolicy[],
  limits: { readonly payloadBytes: number; readonly dedupeWindowMs: number },
): Retention | undefined {
  const durable = policies.filter(({ history }) => history !== undefined);
  const kept = durable.map(({ history }) => history as HistoryPolicy);
  if (kept.length === 0) return undefined;
  return {
    count: Math.max(...kept.map(({ count }) => count)),
    ageMs: Math.max(...kept.map(({ ageMs }) => ageMs)),
    payloadBytes: limits.payloadBytes,
    dedupeWindowMs: limits.dedupeWindowMs,
    cursors: durable.some(({ cursor }) => cursor !== false),
  };
}

/** How many events of one room the streams keep: one more than the room does, to know what came before them. */
export function perRoom(retention: Retention): number {
  return retention.count + 1;
}

/** Which streams there are to be, for so many copies. */
export type StreamPlan = (replicas: number) => readonly WantedStream[];

export function streamConfig(
  shard: number,
  replicas: number,
  retention: Retention,
  options: NatsOptions,
): WantedStream {
  const subjects = new Subjects(options.prefix, options.shards);
  return {
    name: subjects.stream(shard),
    description: 'Carillon: history of durable rooms',
    subjects: [subjects.logs(shard)],
    retention: 'limits',
    // On memory storage the limit per subject grows dearer without end: 5 to 24 us a message and rising.
    storage: 'file',
    num_replicas: replicas,
    discard: 'old',
    max_age: nanos(retention.ageMs),
    max_bytes: options.streamBytes,
    max_msgs: -1,
    max_msgs_per_subject: perRoom(retention),
    max_msg_size: retention.payloadBytes + HEADER_BYTES,
    // The server wants at least 100 ms, and no more than the age.
    duplicate_window: nanos(Math.min(Math.max(100, retention.dedupeWindowMs), retention.ageMs)),
    allow_direct: true,
    deny_delete: true,
    republish: { src: subjects.logs(shard), dest: subjects.lives(shard) },
    metadata: metadataOf(options),
  };
}

/** Names of a room and a user, an epoch and a position. */
const CURSOR_BYTES = 2048;

/** One message per cursor, the latest. */
export function cursorStreamConfig(replicas: number, options: NatsOptions): WantedStream {
  const subjects = new Subjects(options.prefix, options.shards);
  return {
    name: subjects.cursorStream,
    description: 'Carillon: what users have seen of rooms',
    subjects: [subjects.cursors],
    retention: 'limits',
    storage: 'file',
    num_replicas: replicas,
    discard: 'old',
    max_age: nanos(options.cursorAgeMs),
    max_bytes: options.cursorBytes,
    max_msgs: -1,
    max_msgs_per_subject: 1,
    max_msg_size: CURSOR_BYTES,
    // Not used: a write names the one before it.
    duplicate_window: nanos(100),
    allow_direct: true,
    deny_delete: true,
    metadata: metadataOf(options),
  };
}

function metadataOf({ shards }: NatsOptions): Record<string, string> {
  return { 'carillon.shards': String(shards), 'carillon.schema': '1' };
}

/** The streams of the rooms' histories and cursors, for so many copies. */
export function roomStreams(options: NatsOptions, retention: Retention): StreamPlan {
  return (replicas) => {
    const shards = Array.from({ length: options.shards }, (_, shard) =>
      streamConfig(shard, replicas, retention, options),
    );
    return retention.cursors ? [...shards, cursorStreamConfig(replicas, options)] : shards;
  };
}

/** Why the server cannot keep history for us; undefined: it can. */
export function withoutHistory(connection: NatsConnection): string | undefined {
  const { version = 'unknown', jetstream, api_lvl: level = 0 } = connection.info ?? {};
  if (jetstream !== true) return 'the server runs without JetStream';
  if (level >= HISTORY_API_LEVEL) return undefined;
  return `the server is version ${version} with JetStream API level ${level}, and history needs level ${HISTORY_API_LEVEL} (2.11 or newer)`;
}

export interface ApplyReport {
  readonly created: readonly string[];
  readonly updated: readonly string[];
  readonly unchanged: readonly string[];
  /** Bounds wider than the settings: left as they are, or made narrower where that was asked for. */
  readonly wider: readonly Narrowing[];
  readonly narrowed: readonly Narrowing[];
}

export interface ApplyOptions {
  /** Takes back what is wider than the settings, and with it what the stream has beyond them. */
  readonly narrow?: boolean;
}

/** Names of streams that keep more than the settings of this node say, as it found them. */
export type WiderStreams = Set<string>;

export class Streams {
  readonly #connection: NatsConnection;
  readonly #options: NatsOptions;
  readonly #plan: StreamPlan;
  readonly #wider: WiderStreams;
  #found: readonly string[] = [];
  #manager: JetStreamManager | undefined;

  constructor(
    connection: NatsConnection,
    options: NatsOptions,
    plan: StreamPlan,
    wider: WiderStreams = new Set(),
  ) {
    this.#connection = connection;
    this.#options = options;
    this.#plan = plan;
    this.#wider = wider;
  }

  /**
   * Creates what is missing, if it may, and throws with all that does not fit; changes nothing that exists. Gives what
   * is wider than the settings, in words.
   */
  async ensure(): Promise<readonly string[]> {
    const problems: string[] = [];
    const wider: string[] = [];
    for (const wanted of this.#wanted()) {
      const fit = await this.#ensureOne(wanted);
      problems.push(...fit.wrong);
      wider.push(...fit.wider);
    }
    if (problems.length === 0) return wider;
    throw new Error(
      `the streams do not fit the settings: ${problems.join('; ')}. ` +
        'Run `carillon streams apply` with these settings, or correct the settings. The number of shards of an ' +
        'installation cannot be changed: that takes a new nats.prefix, and a new history.',
    );
  }

  /** A cluster that is just coming up has no leader yet, or not all of its servers: that passes, or the time does. */
  async ensured(timeoutMs: number, env: Env): Promise<void> {
    const until = env.ticks() + timeoutMs;
    let last: string | undefined;
    const attempts = async () => {
      for (let error = await this.#attempt(); error !== undefined; error = await this.#attempt()) {
        last = reasonOf(error);
        if (env.ticks() > until) throw givenUp(this.#names(), last, timeoutMs, error);
        await env.sleep(ENSURE_RETRY_MS);
      }
    };
    const wait = {
      what: this.#names(),
      why: () => last ?? 'JetStream does not answer: it may have no leader',
      fix: 'look at the servers of NATS: nats server report jetstream',
      givesUpMs: timeoutMs,
    };
    await withNotice(wait, { log: env.log, alarm: env.timers.after }, attempts);
    if (this.#found.length > 0)
      env.log.warn(
        { wider: this.#found },
        'streams keep more than the settings say, which does no harm: `carillon streams apply --narrow` takes it back',
      );
  }

  /** undefined: all is there. Gives what passes by itself, throws what does not. */
  async #attempt(): Promise<unknown> {
    try {
      this.#found = await this.ensure();
      return undefined;
    } catch (error) {
      if (isForbidden(error)) throw forbidden(error);
      if (!isPassing(error)) throw error;
      return error;
    }
  }

  #names(): string {
    const [first, ...others] = this.#wanted();
    const more = others.length === 0 ? '' : ` and ${others.length} more`;
    return `the stream ${first?.name ?? ''}${more}`;
  }

  /** Creates what is missing, if it may. 'missing': it is, and may not be created. */
  async recreate(name: string): Promise<'missing' | 'there'> {
    const wanted = this.#wanted().find((stream) => stream.name === name);
    if (wanted === undefined) throw new Error(`${name} is none of these streams`);
    const { wrong } = await this.#ensureOne(wanted);
    return wrong.length === 0 ? 'there' : 'missing';
  }

  /**
   * Creates and updates. Throws where the server refuses, or where a stream cannot become what is wanted; that is looked
   * at before anything is changed.
   */
  async apply({ narrow = false }: ApplyOptions = {}): Promise<ApplyReport> {
    const seen = await this.seen();
    for (const { wanted, info } of seen) if (info !== undefined) checkChangeable(info, wanted);
    const report = { created: [], updated: [], unchanged: [] } as Record<string, string[]>;
    const narrowings: Narrowing[] = [];
    for (const { wanted, info } of seen) {
      const found = info ?? (await this.#add(wanted));
      const change = streamChange(found, wanted, narrow);
      narrowings.push(...change.narrowings);
      if (change.update !== undefined) await this.#update(found, change.update);
      const done = info === undefined ? 'created' : change.update === undefined ? 'unchanged' : 'updated';
      report[done]?.push(wanted.name);
    }
    const { created = [], updated = [], unchanged = [] } = report;
    return {
      created,
      updated,
      unchanged,
      wider: narrow ? [] : narrowings,
      narrowed: narrow ? narrowings : [],
    };
  }

  async #update(info: StreamInfo, update: WantedStream): Promise<void> {
    try {
      await updateStream(await this.#managed(), info, update);
    } catch (error) {
      if (isForbidden(error)) throw error;
      const differences = streamFit(info.config, update).wrong.join('; ');
      throw new Error(`${update.name} cannot be changed: ${reasonOf(error)} (${differences})`, {
        cause: error,
      });
    }
  }

  /** Each stream that there is to be, and what is there now; changes nothing. */
  async seen(): Promise<readonly { readonly wanted: WantedStream; readonly info: StreamInfo | undefined }[]> {
    const all: { wanted: WantedStream; info: StreamInfo | undefined }[] = [];
    for (const wanted of this.#wanted()) all.push({ wanted, info: await this.#info(wanted.name) });
    return all;
  }

  #wanted(): readonly WantedStream[] {
    return this.#plan(this.#replicas());
  }

  /** In a cluster of two, 3 is refused by the server with a text that says so. */
  #replicas(): number {
    const { replicas } = this.#options;
    if (replicas !== 'auto') return replicas;
    return this.#connection.info?.cluster === undefined ? 1 : 3;
  }

  async #ensureOne(wanted: WantedStream): Promise<StreamFit> {
    const { name } = wanted;
    let info = await this.#info(name);
    if (info === undefined) {
      if (!this.#options.manageStreams)
        return { wrong: [`${name} is missing, and nats.manageStreams is false`], wider: [] };
      info = await this.#add(wanted);
    }
    const named = (difference: string) => `${name}: ${difference}`;
    const { wrong, wider } = streamFit(info.config, wanted);
    if (wider.length > 0) this.#wider.add(name);
    else this.#wider.delete(name);
    return { wrong: wrong.map(named), wider: wider.map(named) };
  }

  /** Another node may be doing the same; whatever it has made is judged like any other. */
  async #add(wanted: WantedStream): Promise<StreamInfo> {
    const manager = await this.#managed();
    try {
      return await manager.streams.add(wanted);
    } catch (error) {
      const info = await this.#info(wanted.name);
      if (info !== undefined) return info;
      const reason = reasonOf(error);
      const size = `${Math.round((wanted.max_bytes ?? 0) / 1024 ** 2)} MiB on ${wanted.num_replicas} server(s)`;
      throw new Error(
        `the stream ${wanted.name} (${size}: nats.streamBytes, nats.cursorBytes, and bytes of state, usage and lifecycle) ` +
          'cannot be made: ' +
          `${reason}. All streams together must fit into max_file_store of each server, and a cluster of ` +
          'fewer than 3 servers needs nats.replicas: 1.',
        { cause: error },
      );
    }
  }

  async #info(name: string): Promise<StreamInfo | undefined> {
    const manager = await this.#managed();
    try {
      return await manager.streams.info(name);
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound)
        return undefined;
      throw error;
    }
  }

  async #managed(): Promise<JetStreamManager> {
    this.#manager ??= await jetstreamManager(this.#connection, { timeout: API_TIMEOUT_MS, checkAPI: false });
    return this.#manager;
  }
}

/** What no update of a stream can change. */
function checkChangeable({ config }: StreamInfo, wanted: WantedStream): void {
  const is = config.metadata?.['carillon.shards'];
  const should = wanted.metadata?.['carillon.shards'];
  if (is !== undefined && is !== should)
    throw new Error(
      `${wanted.name} belongs to an installation with ${is} shards, and nats.shards is ${should}. It cannot be ` +
        'changed: rooms would be looked for in other streams. Use a new nats.prefix for a new history.',
    );
  if (config.storage !== wanted.storage)
    throw new Error(
      `${wanted.name} has its messages in ${config.storage}, and Carillon needs them in ${wanted.storage}. NATS cannot ` +
        'change that: use a new nats.prefix, or back the stream up, delete it and apply again.',
    );
}
