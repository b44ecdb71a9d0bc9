/**
 * Reads from a stream by batch direct get: one request, many messages, an end. Any replica may answer, a stale one
 * too: what an answer proves is up to the caller.
 */
import type { Msg } from '@nats-io/nats-core';
import type { NoAnswer, Requests } from './acks.ts';
import { headerText, NUM_PENDING, numberIn, statusOf, UP_TO_SEQUENCE } from './headers.ts';

export interface ReadEnd {
  readonly status: number;
  /** Only from `multi_last`: everything up to this place of the stream has been looked at. */
  readonly upTo: number | undefined;
  /** Messages that the answer had no room for. */
  readonly pending: number;
}

/** Each message with its headers as text, in order; valid during the call only. */
export type Each = (msg: Msg, text: string) => void;

/** Between two messages of one answer. */
const SILENCE_MS = 2000;

export function readDirect(
  requests: Requests,
  stream: string,
  request: object,
  each: Each,
): Promise<ReadEnd | NoAnswer> {
  return new Promise((ended) => {
    requests.collect(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify(request), SILENCE_MS, (answer) => {
      const end = typeof answer === 'string' ? answer : endOf(answer, each);
      if (end === undefined) return false;
      ended(end);
      return true;
    });
  });
}

function endOf(msg: Msg, each: Each): ReadEnd | undefined {
  const text = headerText(msg, msg.subject.length);
  const status = statusOf(text);
  if (status !== 200) {
    return { status, upTo: numberIn(text, UP_TO_SEQUENCE), pending: numberIn(text, NUM_PENDING) ?? 0 };
  }
  each(msg, text);
  return undefined;
}
