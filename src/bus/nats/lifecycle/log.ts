/** The record of sessions in its stream: written in order per session, each event once by its id. */
import type { Msg } from '@nats-io/nats-core';
import { fnv1a32 } from '../../../broker/hash.ts';
import type { LifecycleEvent, LifecycleSink } from '../../../broker/lifecycle/event.ts';
import type { Clock, Log } from '../../../broker/ports.ts';
import type { LifecycleSettings } from '../../../broker/settings.ts';
import { type NoAnswer, Requests } from '../acks.ts';
import type { Link } from '../connection.ts';
import { readDirect } from '../direct.ts';
import { type Env, environment } from '../env.ts';
import { numberIn, payloadText, SEQUENCE } from '../headers.ts';
import type { NatsOptions } from '../options.ts';
import { Streams, withoutHistory } from '../streams.ts';
import { encodeToken, Subjects } from '../subject.ts';
import type { Cancel } from '../timers.ts';
import { LifecycleSubjects, lifecycleStream } from './stream.ts';

export interface NatsLifecycleParts {
  /** Of the bus, which must have been started before this and is closed after it. */
  readonly link: () => Link;
  readonly options: NatsOptions;
  readonly settings: LifecycleSettings;
  readonly node: string;
  /** Of this run of the process. */
  readonly run: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Events of one session go one after the other, those of different ones side by side. */
const LANES = 64;
const ACK_MS = 2000;
const RETRY_MS = 250;
const CLOSE_MS = 3000;
const PAGE = 512;
const PAGE_BYTES = 1024 * 1024;

interface Lane {
  readonly queue: { readonly subject: string; readonly id: string; readonly payload: string }[];
  busy: boolean;
}

export class NatsLifecycle implements LifecycleSink {
  readonly #parts: NatsLifecycleParts;
  readonly #env: Env;
  readonly #subjects: LifecycleSubjects;
  readonly #lanes: readonly Lane[] = Array.from({ length: LANES }, () => ({ queue: [], busy: false }));
  #requests: Requests | undefined;
  readonly #stops: Cancel[] = [];
  #waiting = 0;
  #drained: (() => void)[] = [];
  #closed = false;
  /** Since the start. */
  readonly counts = { stored: 0, dropped: 0, retried: 0 };

  constructor(parts: NatsLifecycleParts) {
    this.#parts = parts;
    this.#env = environment(parts.clock, parts.log);
    this.#subjects = new LifecycleSubjects(parts.options.prefix);
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Throws when the stream cannot be had, or does not fit the settings. */
  async start(): Promise<void> {
    const { options, settings, run } = this.#parts;
    const link = this.#parts.link();
    const cannot = withoutHistory(link.connection);
    if (cannot !== undefined)
      throw new Error(`NATS cannot keep the record of sessions (lifecycle.enabled): ${cannot}`);
    const plan = (replicas: number) => [lifecycleStream(replicas, options, settings)];
    await new Streams(link.connection, options, plan, link.wider).ensured(options.startTimeoutMs, this.#env);
    const inbox = `${new Subjects(options.prefix, options.shards).inbox(run)}.life`;
    const requests = new Requests(link.connection, inbox, this.#env, link.outlet);
    this.#requests = requests;
    this.#stops.push(link.watch({ lost: () => requests.lost(), back: () => this.#kick() }), () =>
      requests.close(),
    );
  }

  append(event: LifecycleEvent): void {
    const subject = this.#subjects.event(event.run, event.tenant);
    this.#put(event.session ?? event.id, subject, event.id, JSON.stringify(event));
  }

  /** What a webhook has not taken. */
  undelivered(id: string, payload: string): void {
    this.#put('undelivered', this.#subjects.undelivered(this.#parts.node), id, payload);
  }

  async flushed(): Promise<boolean> {
    if (this.#waiting > 0) await new Promise<void>((done) => this.#drained.push(done));
    return !this.#closed;
  }

  /** Everything that a run has recorded; undefined: it cannot be read now. */
  async read(run: string): Promise<LifecycleEvent[] | undefined> {
    const requests = this.#requests;
    if (requests === undefined) return undefined;
    const events: LifecycleEvent[] = [];
    for (let from = 1; ; ) {
      const request = {
        seq: from,
        next_by_subj: this.#subjects.run(run),
        batch: PAGE,
        max_bytes: PAGE_BYTES,
      };
      let count = 0;
      const end = await readDirect(requests, this.#subjects.stream, request, (msg, text) => {
        count++;
        from = (numberIn(text, SEQUENCE) ?? from) + 1;
        events.push(JSON.parse(payloadText(msg)) as LifecycleEvent);
      });
      if (typeof end === 'string' || (end.status !== 204 && end.status !== 404)) return undefined;
      if (count === 0) return events;
    }
  }

  /** Gives what waits some time to be stored. */
  async close(): Promise<void> {
    await Promise.race([this.flushed(), this.#env.sleep(CLOSE_MS)]);
    this.#closed = true;
    if (this.#waiting > 0)
      this.#parts.log.error({ events: this.#waiting }, 'events of sessions were not stored before the end');
    for (const stop of this.#stops.splice(0)) stop();
    for (const done of this.#drained.splice(0)) done();
  }

  #put(lane: string, subject: string, id: string, payload: string): void {
    if (this.#waiting >= this.#parts.settings.queue) {
      if (this.counts.dropped++ === 0)
        this.#parts.log.error({ id }, 'events of sessions are lost: more wait than lifecycle.queue allows');
      return;
    }
    const chosen = this.#lanes[fnv1a32(lane) % LANES] as Lane;
    chosen.queue.push({ subject, id, payload });
    this.#waiting++;
    this.#next(chosen);
  }

  #kick(): void {
    for (const lane of this.#lanes) this.#next(lane);
  }

  #next(lane: Lane): void {
    const [first] = lane.queue;
    if (lane.busy || first === undefined || this.#closed || this.#requests === undefined) return;
    lane.busy = true;
    const headers = Buffer.from(`NATS/1.0\r\nNats-Msg-Id: ${encodeId(first.id)}\r\n\r\n`, 'latin1');
    const again = () => this.#again(lane);
    this.#requests.send(
      first.subject,
      first.payload,
      headers,
      ACK_MS,
      (answer) => (isStored(answer) ? this.#stored(lane) : again()),
      again,
    );
  }

  #stored(lane: Lane): void {
    lane.queue.shift();
    lane.busy = false;
    this.#waiting--;
    this.counts.stored++;
    if (this.#waiting === 0) for (const done of this.#drained.splice(0)) done();
    this.#next(lane);
  }

  /** With the same id: what was stored although the answer is lost stays one. */
  #again(lane: Lane): void {
    this.counts.retried++;
    this.#env.timers.after(RETRY_MS, () => {
      lane.busy = false;
      this.#next(lane);
    });
  }
}

function isStored(answer: Msg | NoAnswer): boolean {
  return typeof answer !== 'string' && answer.json<{ readonly error?: unknown }>().error === undefined;
}

/** Sessions and rooms have nothing that a header cannot hold, tenants may. */
function encodeId(id: string): string {
  return /^[\x21-\x7e]+$/.test(id) ? id : encodeToken(id);
}
