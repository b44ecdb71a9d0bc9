/** What tells a message from another one that stands at the same place of a stream. */
import { decodeMeta, lastValue } from './headers.ts';

export interface Identity {
  /** The publish that it is, as the server knows it when it is repeated. */
  readonly id?: string | undefined;
  /** When the stream took it, as the server writes it: to the nanosecond. */
  readonly time?: string | undefined;
  /** Of an event: its room's subject, and when its node took it. */
  readonly log?: string | undefined;
  readonly ts?: number | undefined;
}

/** What is at hand where a message is met: its headers, as received or as sent. Read only when it comes to that. */
export type Witness = string | Uint8Array | Identity;

/** A message at its place, as it was met. */
export interface Anchor {
  readonly seq: number;
  readonly witness: Witness;
}

/** A message at its place, as the leader of the stream has it. */
export interface Kept {
  readonly subject: string;
  readonly time: string;
  /** Its headers. */
  readonly text: string;
}

const ID = '\r\nNats-Msg-Id: ';
const TIME = '\r\nNats-Time-Stamp: ';

export function identityOf(witness: Witness): Identity {
  if (typeof witness === 'string') return { id: lastValue(witness, ID), time: lastValue(witness, TIME) };
  if (witness instanceof Uint8Array) return { id: lastValue(Buffer.from(witness).toString('latin1'), ID) };
  return witness;
}

/** Whatever both say of themselves is equal. */
export function isSame(witness: Witness, { subject, time, text }: Kept): boolean {
  const was = identityOf(witness);
  const same = <T>(one: T | undefined, other: () => T | undefined) => one === undefined || one === other();
  return (
    same(was.id, () => lastValue(text, ID)) &&
    same(was.time, () => time) &&
    same(was.log, () => subject) &&
    same(was.ts, () => decodeMeta(text)?.ts)
  );
}
