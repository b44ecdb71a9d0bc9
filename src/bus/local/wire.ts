/** What workers and their hub say to one another over a `Link`, and how rooms and events stand in it. */
import type { NodeChange, NodeInfo, NodeStatus, Stored } from '../../broker/cluster.ts';
import { type EventFields, RoomEvent } from '../../broker/event.ts';
import type { LifecycleEvent } from '../../broker/lifecycle/event.ts';
import type {
  Accepted,
  Fault,
  HistoryPage,
  HistoryQuery,
  Publication,
  ReplayPage,
  ReplaySince,
  RoomRef,
  Skip,
} from '../../broker/ports.ts';
import { roomKey } from '../../broker/rooms.ts';
import type { UsageQuery, UsageRecord } from '../../broker/usage.ts';
import type { GapReason, Position } from '../../protocol/frames.ts';
import type { Write } from '../cluster/replica.ts';
import type { Page } from '../tail.ts';

/** Messages by name, with what each says. */
export type Talk = { readonly [name: string]: readonly unknown[] };

/** From a worker to the hub. */
export type FromWorker = {
  /** Events of a room from now on: `opened` or `failed`. */
  readonly open: readonly [generation: number, room: WireRoom];
  readonly shut: readonly [roomKey: string];
  /** Settled by `settled`, or by the event where this worker is fed it. */
  readonly publish: readonly [id: number, room: WireRoom, publication: WirePublication];
  readonly cursor: readonly [room: WireRoom, user: string, cursor: Position];
  /** Answered by `reply`, after `part`s where the method has them. */
  readonly call: readonly [id: number, method: keyof Calls, argument: unknown];
  /** Answered by `joined`. */
  readonly join: readonly [info: NodeInfo];
  readonly status: readonly [status: NodeStatus];
  readonly bye: readonly [];
  /** To all others, or one. */
  readonly tell: readonly [topic: string, text: string, to: string | null];
  readonly question: readonly [id: number, topic: string, text: string, to: string | null];
  /** To a question; null: there is none. */
  readonly answer: readonly [asker: number, id: number, text: string | null];
  /** Of the record of sessions. */
  readonly recorded: readonly [event: LifecycleEvent];
  readonly undelivered: readonly [id: string, payload: string];
};

/** From the hub to a worker. */
export type FromHub = {
  /** The first: what this worker is to the hub. */
  readonly welcome: readonly [number: number];
  readonly opened: readonly [roomKey: string, generation: number, position: Position];
  readonly failed: readonly [roomKey: string, generation: number, fault: Fault];
  /** With the worker that published it, and that worker's id of the publish. */
  readonly event: readonly [roomKey: string, event: WireEvent, publisher: number, id: number];
  readonly gap: readonly [roomKey: string, from: number, to: number, reason: GapReason];
  readonly settled: readonly [id: number, outcome: Accepted | Fault];
  readonly part: readonly [id: number, value: unknown];
  readonly reply: readonly [id: number, value: unknown];
  /** What there is as this worker joins. */
  readonly joined: readonly [nodes: readonly NodeInfo[], stores: readonly WireStore[]];
  readonly node: readonly [info: NodeInfo, change: NodeChange];
  readonly told: readonly [from: string, topic: string, text: string];
  readonly question: readonly [asker: number, id: number, from: string, topic: string, text: string];
  readonly answer: readonly [id: number, node: string, text: string | null];
  /** null: it is gone. */
  readonly change: readonly [store: string, key: string, row: WireRow | null];
};

/** What a worker asks of the hub and waits for: arguments and answers by method. */
export interface Calls {
  readonly replay: [
    { readonly room: WireRoom; readonly since: ReplaySince; readonly page: Page },
    WirePage<ReplayPage> | Fault,
  ];
  readonly history: [
    { readonly room: WireRoom; readonly query: HistoryQuery },
    WirePage<HistoryPage> | Fault,
  ];
  readonly cursor: [{ readonly room: WireRoom; readonly user: string }, Position | null | Fault];
  readonly write: [Write, Stored];
  readonly keepUsage: [readonly UsageRecord[], boolean];
  readonly journalUsage: [readonly UsageRecord[], boolean];
  /** The records come in parts. */
  readonly readUsage: [UsageQuery, boolean];
  readonly flushed: [null, boolean];
  /** Of a run; null: it cannot be read now. */
  readonly record: [string, readonly LifecycleEvent[] | null];
}

export type WirePage<T> = Omit<T, 'events'> & { readonly events: readonly WireEvent[] };

/** A publication without what is the business of the publisher's worker. */
export type WirePublication = Omit<Publication, 'room' | 'skip'>;

/** tenant, name, and of a durable room count, bytes and age in milliseconds. */
export type WireRoom = readonly [string, string] | readonly [string, string, number, number, number];

export function wireRoom({ tenant, name, policy: { history } }: RoomRef): WireRoom {
  return history === undefined ? [tenant, name] : [tenant, name, history.count, history.bytes, history.ageMs];
}

/** Of a room's policy the hub has the history; all else is the workers' business. */
export function roomOf([tenant, name, count, bytes, ageMs]: WireRoom): RoomRef {
  const policy = { match: name, matches: (other: string) => other === name, overflow: 'skip' } as const;
  const history =
    count === undefined || bytes === undefined || ageMs === undefined ? undefined : { count, bytes, ageMs };
  const key = roomKey(tenant, name);
  return { key, tenant, name, policy: history === undefined ? policy : { ...policy, history } };
}

/** The event's frame as JSON text, and the length of its payload in it. */
export type WireEvent = readonly [json: string, payloadLength: number];

export function wireEvent(event: RoomEvent): WireEvent {
  return [event.json, event.payload.length];
}

/** What stands before the payload is read, the payload is not. */
export function eventOf([json, payloadLength]: WireEvent, skip?: Skip): RoomEvent {
  const payloadAt = json.length - 1 - payloadLength;
  const fields = JSON.parse(`${json.slice(0, payloadAt)}null}`) as Omit<EventFields, 'payload'>;
  return new RoomEvent({ ...fields, payload: json.slice(payloadAt, -1), skip });
}

/** value as JSON, revision, and when it expires. */
export type WireRow = readonly [text: string, revision: number, expiresAt: number | null];
export type WireStore = readonly [name: string, rows: readonly (readonly [string, ...WireRow])[]];

export const LOST: Fault = {
  ok: false,
  code: 'unavailable',
  reason: 'the hub of the workers is gone',
  retryAfterMs: 1000,
};
