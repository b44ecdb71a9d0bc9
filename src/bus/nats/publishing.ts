/** Publishes to durable rooms: from the session's publication to its answer. */
import * as crypto from 'node:crypto';
import type { Msg } from '@nats-io/nats-core';
import type { Fault, Publication, Settle, Skip } from '../../broker/ports.ts';
import { publishIdentity } from '../dedupe.ts';
import type { NoAnswer, Requests } from './acks.ts';
import type { Audits } from './audit.ts';
import type { Env } from './env.ts';
import type { Epochs } from './epochs.ts';
import { encodeMeta, type Meta } from './headers.ts';
import { IN_PROCESS, type PubAck, STORE_FULL, TOO_LARGE } from './jetstream.ts';
import type { NatsOptions } from './options.ts';
import type { Attempt, Outgoing, Publisher, Stored } from './publisher.ts';
import type { Shard } from './shard.ts';
import type { RoomSubjects } from './subject.ts';

export interface PublishingParts extends Env {
  readonly options: NatsOptions;
  /** Names this process among all that ever were: ids that it makes never come twice. */
  readonly node: string;
  readonly publisher: Publisher;
  readonly audits: Audits;
  readonly epochs: Epochs;
}

export class Publishing {
  readonly #parts: PublishingParts;
  readonly #skips = new Map<number, Skip>();
  #count = 0;
  /** Stored, but the event has not come yet. */
  waiting = 0;
  duplicates = 0;

  constructor(parts: PublishingParts) {
    this.#parts = parts;
  }

  publish(publication: Publication, subjects: RoomSubjects, shard: Shard, settle: Settle): void {
    const { publisher, options, ticks, epochs } = this.#parts;
    const number = ++this.#count;
    const { seen, epoch } = shard;
    const headers = encodeMeta(this.meta(publication, number), this.#id(publication, number));
    const until = ticks() + options.publishTimeoutMs;
    publisher.publish({
      shard: shard.number,
      subject: subjects.log,
      payload: publication.payload,
      headers,
      until,
      done: (outcome) => {
        if (!outcome.ok) this.#settle(outcome, number, settle);
        else if (outcome.duplicate || outcome.seq > seen) {
          if (!outcome.duplicate) shard.met(outcome.seq, headers);
          this.#stored(outcome, subjects, shard, until, number, settle);
        }
        // Places only grow, unless they are given away again: the room's members are told of that first.
        else
          void epochs.prove(shard, epoch).then((told) => {
            if (told) this.#stored(outcome, subjects, shard, until, number, settle);
            else this.#settle(VOID, number, settle);
          });
      },
    });
  }

  /** What goes out with the publication; remembers its `skip` for when the event comes back. */
  meta({ from, msgId, key, ephemeral, skip, traceparent }: Publication, number: number): Meta {
    const origin = skip === undefined ? undefined : this.#parts.node;
    if (skip !== undefined) this.#skips.set(number, skip);
    return {
      ts: this.#parts.now(),
      from,
      msgId,
      key,
      ephemeral,
      expireMs: undefined,
      origin,
      skip: number,
      traceparent,
    };
  }

  skipOf({ origin, skip }: Meta): Skip | undefined {
    return origin === this.#parts.node ? this.#skips.get(skip) : undefined;
  }

  /** Unique in the stream, whatever rooms and users it holds: the server knows a repeated publish by nothing else. */
  #id({ room, from, msgId }: Publication, number: number): string {
    if (msgId === undefined) return `${this.#parts.node}.${number.toString(36)}`;
    return digest(publishIdentity(room.key, from, msgId)).slice(0, 22);
  }

  #stored(
    { seq, duplicate }: Stored,
    subjects: RoomSubjects,
    shard: Shard,
    until: number,
    number: number,
    settle: Settle,
  ): void {
    if (duplicate) this.duplicates++;
    const accepted = { ok: true, epoch: shard.epoch, seq, duplicate } as const;
    const feed = shard.feeds.get(subjects.log);
    if (feed === undefined || feed.saw(seq)) {
      this.#settle(accepted, number, settle);
      return;
    }
    this.waiting++;
    let settled = false;
    const end = (outcome: Parameters<Settle>[0]) => {
      if (settled) return;
      settled = true;
      this.waiting--;
      cancel();
      this.#settle(outcome, number, settle);
    };
    const cancel = this.#parts.timers.after(Math.max(0, until - this.#parts.ticks()), () => end(UNSEEN));
    feed.whenSeen(seq, (seen) => end(seen ? { ...accepted, epoch: shard.epoch } : UNSEEN));
    this.#parts.audits.soon(shard, feed);
  }

  #settle(outcome: Parameters<Settle>[0], number: number, settle: Settle): void {
    this.#skips.delete(number);
    settle(outcome);
  }
}

/** Node 20.12 and later have it in one call, at half the price. */
const digest: (text: string) => string =
  typeof crypto.hash === 'function'
    ? (text) => crypto.hash('sha256', text, 'base64url')
    : (text) => crypto.createHash('sha256').update(text).digest('base64url');

const UNSEEN: Fault = {
  ok: false,
  code: 'unavailable',
  reason: 'the publish was stored, but its event has not come back',
  retryAfterMs: 1000,
};

const VOID: Fault = {
  ok: false,
  code: 'unavailable',
  reason:
    'the publish was stored at a place that another event has had, and NATS does not take the mark of a new epoch',
  retryAfterMs: 1000,
};

const TOO_MANY = new Set([429, 503]);

/** One attempt to store a publish. */
export function attempt(
  requests: Requests,
  outgoing: Outgoing,
  timeoutMs: number,
  answered: (attempt: Attempt) => void,
): void {
  const { subject, payload, headers } = outgoing;
  const refused = (error: unknown) => {
    // The client checks the size against the server's max_payload, and the connection may just have been closed.
    const reason = error instanceof Error ? error.message : String(error);
    answered({ ok: false, code: 'payload_too_large', reason: `NATS does not take it: ${reason}` });
  };
  const judged = (answer: Msg | NoAnswer) =>
    answered(typeof answer === 'string' ? answer : judge(JSON.parse(answer.string()) as PubAck));
  requests.send(subject, payload, headers, timeoutMs, judged, refused);
}

function judge({ seq, duplicate, error }: PubAck): Attempt {
  if (error === undefined && seq !== undefined) return { ok: true, seq, duplicate: duplicate === true };
  const reason = `the store refuses it: ${error?.description ?? 'no place in the answer'}`;
  if (error?.err_code === TOO_LARGE) return { ok: false, code: 'payload_too_large', reason };
  if (STORE_FULL.has(error?.err_code ?? 0))
    return { ok: false, code: 'overloaded', reason, retryAfterMs: 5000 };
  if (error?.err_code === IN_PROCESS || TOO_MANY.has(error?.code ?? 0)) return 'busy';
  return { ok: false, code: 'unavailable', reason, retryAfterMs: 5000 };
}
