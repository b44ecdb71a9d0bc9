/** What a worker asks of the hub and waits for. Each answer is given once. */
import type { Stored } from '../../../broker/cluster.ts';
import type { LifecycleEvent } from '../../../broker/lifecycle/event.ts';
import type { Bus, Cursors, Fault, HistoryPage, ReplayPage } from '../../../broker/ports.ts';
import type { UsageQuery, UsageRecord, UsageStore } from '../../../broker/usage.ts';
import type { Write } from '../../cluster/replica.ts';
import { type Calls, roomOf, type WirePage, wireEvent } from '../wire.ts';

/** Records of usage in one part of an answer. */
const PART = 256;

/** The record of sessions, where the hub keeps one. */
export interface SessionRecord {
  readonly counts: { readonly stored: number; readonly dropped: number; readonly retried: number };
  readonly waiting: number;
  append(event: LifecycleEvent): void;
  undelivered(id: string, payload: string): void;
  flushed(): Promise<boolean>;
  read(run: string): Promise<readonly LifecycleEvent[]>;
}

export interface CallParts {
  readonly bus: Bus;
  readonly cursors: Cursors;
  readonly write: (write: Write) => Promise<Stored>;
  readonly usage: UsageStore;
  readonly record: SessionRecord | undefined;
}

export interface Caller {
  readonly number: number;
  reply(value: unknown): void;
  part(value: unknown): void;
}

type Handlers = { readonly [M in keyof Calls]: (argument: Calls[M][0], caller: Caller) => void };

export class HubCalls {
  readonly #parts: CallParts;
  readonly #handlers: Handlers;
  /** Of the minute that is not over, by worker. */
  readonly #present = new Map<number, readonly UsageRecord[]>();

  constructor(parts: CallParts) {
    this.#parts = parts;
    const { usage } = parts;
    this.#handlers = {
      replay: (argument, caller) => this.#replay(argument, caller),
      history: (argument, caller) => this.#history(argument, caller),
      cursor: ({ room, user }, caller) =>
        parts.cursors.get(roomOf(room), user, (cursor) => caller.reply(cursor ?? null)),
      write: (write, caller) => void parts.write(write).then((stored) => caller.reply(stored)),
      keepUsage: (records, caller) => void usage.keep(records).then((kept) => caller.reply(kept)),
      journalUsage: (records, caller) =>
        void this.#journal(caller.number, records).then((kept) => caller.reply(kept)),
      readUsage: (query, caller) => void this.#readUsage(query, caller),
      flushed: (_none, caller) => void this.#flushed().then((kept) => caller.reply(kept)),
      record: (run, caller) => this.#record(run, caller),
    };
  }

  call(method: keyof Calls, argument: unknown, caller: Caller): void {
    (this.#handlers[method] as (argument: unknown, caller: Caller) => void)(argument, caller);
  }

  /** What a worker said last of the present minute is all that there will be of it. */
  gone(number: number): void {
    const records = this.#present.get(number);
    this.#present.delete(number);
    if (records !== undefined && records.length > 0) void this.#parts.usage.keep(records);
  }

  #replay({ room, since, page }: Calls['replay'][0], caller: Caller): void {
    this.#parts.bus.replay(roomOf(room), since, page, (result) => caller.reply(wirePage(result)));
  }

  #history({ room, query }: Calls['history'][0], caller: Caller): void {
    this.#parts.bus.history(roomOf(room), query, (result) => caller.reply(wirePage(result)));
  }

  #journal(worker: number, records: readonly UsageRecord[]): Promise<boolean> {
    this.#present.set(worker, records);
    return this.#parts.usage.journal([...this.#present.values()].flat());
  }

  async #readUsage(query: UsageQuery, caller: Caller): Promise<void> {
    let part: UsageRecord[] = [];
    const read = await this.#parts.usage.read(query, (record) => {
      part.push(record);
      if (part.length === PART) {
        caller.part(part);
        part = [];
      }
      return true;
    });
    caller.part(part);
    caller.reply(read);
  }

  async #flushed(): Promise<boolean> {
    return (await this.#parts.record?.flushed()) ?? true;
  }

  #record(run: string, caller: Caller): void {
    const read = this.#parts.record?.read(run) ?? Promise.resolve([]);
    read.then(
      (events) => caller.reply(events),
      // The file cannot be read now: the worker asks again.
      () => caller.reply(null),
    );
  }
}

function wirePage<T extends ReplayPage | HistoryPage>(result: T | Fault): WirePage<T> | Fault {
  return result.ok ? { ...result, events: result.events.map(wireEvent) } : result;
}
