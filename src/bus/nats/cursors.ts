/** Cursors of all nodes: read from NATS when a user comes, written behind while they read. */
import { TenantShares } from '../../broker/limits/tenant-shares.ts';
import type { Cursors, Fault, RoomRef } from '../../broker/ports.ts';
import type { Position } from '../../protocol/frames.ts';
import { covers, cursorKey, overCursorShare, tooManyCursors } from '../cursor.ts';
import { CursorReads } from './cursor-reads.ts';
import type { CursorStore, StoredCursor } from './cursor-store.ts';
import type { Env } from './env.ts';
import { guarded } from './guard.ts';
import { Queue } from './queue.ts';
import type { Subjects } from './subject.ts';

export interface CursorParts {
  readonly env: Env;
  readonly subjects: Subjects;
  /** A cursor that has moved is written so much later, with what it has moved further meanwhile. */
  readonly writeMs: number;
  /** Writes begun in a second. */
  readonly perSecond: number;
  /** Cursors held here, those known and those to be written. */
  readonly max: number;
}

interface Cursor {
  readonly key: string;
  readonly tenant: string;
  readonly subject: string;
  readonly shard: number;
  /** As NATS has it, when this node last heard. */
  known: StoredCursor | undefined;
  /** Beyond what NATS has. */
  want: Position | undefined;
  /** In ticks. 0: as soon as it can be. */
  dueAt: number;
  sending: boolean;
}

/** A place in the queue; void when the cursor has another time by now. */
interface Turn {
  readonly cursor: Cursor;
  readonly dueAt: number;
}

type Outcome = 'stored' | 'void' | 'failed';

/** Writes on their way at once. With 64 a node and a server of one core each were busy, at 18,500 writes a second. */
const WINDOW = 64;
/** Writes not begun are made up for by as much of a second's share. */
const SAVED_MS = 200;
/** Nodes that write the same cursor at once take turns; a third loses twice at most. */
const ATTEMPTS = 4;
/** No write is tried for so long after one has failed: the next would fail in the same way. */
const PAUSE_MS = 250;
const DRAIN_STEP_MS = 10;

const UNREADABLE: Fault = {
  ok: false,
  code: 'unavailable',
  reason: 'the stored cursor cannot be read now: join again, or with a position (since)',
  retryAfterMs: 1000,
};

export class NatsCursors implements Cursors {
  readonly #parts: CursorParts;
  /** undefined: NATS is not reached yet, or keeps no cursors. */
  #reads: CursorReads | undefined;
  /** Nothing to write; longest unused first. */
  readonly #idle = new Map<string, Cursor>();
  /** With something to write. */
  readonly #busy = new Map<string, Cursor>();
  readonly #shares: TenantShares;
  /** In the order of `dueAt`, since all wait equally long. */
  readonly #later = new Queue<Turn>();
  readonly #urgent = new Queue<Turn>();
  #sending = 0;
  #pausedUntil = 0;
  /** Writes that may begin now, and when that was so. */
  #allowed = 0;
  #allowedAt = 0;
  #all = false;
  #writes = 0;
  #conflicts = 0;
  #failures = 0;
  #refused = 0;

  constructor(parts: CursorParts) {
    this.#parts = parts;
    this.#shares = new TenantShares(parts.max);
  }

  /** NATS is reached, and keeps cursors. Until then there are none. */
  attach(store: CursorStore): void {
    this.#reads = new CursorReads(store, this.#parts.env);
  }

  get(room: RoomRef, user: string, plain: (cursor: Position | undefined | Fault) => void): void {
    const done = guarded(this.#parts.env.log, 'the answer to a cursor question', plain);
    const key = cursorKey(room, user);
    if (this.#reads === undefined) done(undefined);
    else if (!this.#reads.store.connected) done(this.#away(key));
    else {
      const { subject } = this.#find(key) ?? this.#made(room, user);
      this.#reads.read(subject, (answer) =>
        done(typeof answer === 'string' ? this.#away(key) : this.#heard(room, user, answer)),
      );
    }
  }

  put(room: RoomRef, user: string, position: Position): Fault | undefined {
    if (this.#reads === undefined) return undefined;
    const key = cursorKey(room, user);
    const cursor = this.#find(key);
    if (cursor !== undefined && covers(cursor.want ?? cursor.known?.position, position)) return undefined;
    if (this.#busy.has(key)) {
      (cursor as Cursor).want = position;
      return undefined;
    }
    const place = this.#shares.check(room.tenant);
    if (place !== 'free') {
      this.#refused++;
      return place === 'full'
        ? tooManyCursors(this.#parts.max)
        : overCursorShare(this.#shares.of(room.tenant));
    }
    this.#shares.add(room.tenant, 1);
    const moved = cursor ?? this.#made(room, user);
    moved.want = position;
    this.#idle.delete(key);
    this.#busy.set(key, moved);
    this.#makeRoom();
    this.#enqueue(moved);
    return undefined;
  }

  flush(room: RoomRef, user: string): void {
    if (this.#busy.size === 0) return;
    const cursor = this.#busy.get(cursorKey(room, user));
    if (cursor === undefined || cursor.dueAt === 0) return;
    cursor.dueAt = 0;
    if (cursor.sending) return;
    this.#urgent.push({ cursor, dueAt: 0 });
    this.#pump();
  }

  /** Writes what is due. To be called often. */
  sweep(): void {
    this.#pump();
  }

  /** Writes everything now, until it is done, NATS is away or `until`, in ticks. */
  async drain(until: number): Promise<void> {
    const { ticks, sleep } = this.#parts.env;
    this.#all = true;
    while (this.#busy.size > 0 && this.#reads?.store.connected && ticks() < until) {
      this.#pump();
      await sleep(DRAIN_STEP_MS);
    }
    this.#all = false;
  }

  figures(): Record<string, number> {
    if (this.#reads === undefined) return {};
    return {
      cursors_held: this.#idle.size + this.#busy.size,
      cursors_unwritten: this.#busy.size,
      cursor_writes: this.#writes,
      cursor_write_conflicts: this.#conflicts,
      cursor_write_failures: this.#failures,
      cursors_refused: this.#refused,
      cursor_reads: this.#reads.reads,
      cursor_read_requests: this.#reads.requests,
    };
  }

  /** What this node can say by itself. */
  #away(key: string): Position | Fault {
    const cursor = this.#find(key);
    return cursor?.want ?? cursor?.known?.position ?? UNREADABLE;
  }

  /** A replica has answered; this node may know better, by its own writes. */
  #heard(room: RoomRef, user: string, answer: StoredCursor): Position | undefined {
    const key = cursorKey(room, user);
    const cursor = this.#find(key) ?? this.#made(room, user);
    if (answer.place >= (cursor.known?.place ?? 0)) cursor.known = answer;
    if (!this.#busy.has(key)) this.#rest(cursor);
    const { want, known } = cursor;
    return want === undefined || (known?.position !== undefined && covers(known.position, want))
      ? known?.position
      : want;
  }

  #find(key: string): Cursor | undefined {
    return this.#busy.get(key) ?? this.#idle.get(key);
  }

  #made(room: RoomRef, user: string): Cursor {
    const { subject, shard } = this.#parts.subjects.cursor(room.tenant, room.name, user);
    const key = cursorKey(room, user);
    return {
      key,
      tenant: room.tenant,
      subject,
      shard,
      known: undefined,
      want: undefined,
      dueAt: 0,
      sending: false,
    };
  }

  /** Kept, so that the next write knows what it follows. */
  #rest(cursor: Cursor): void {
    this.#idle.delete(cursor.key);
    this.#idle.set(cursor.key, cursor);
    this.#makeRoom();
  }

  #makeRoom(): void {
    for (const key of this.#idle.keys()) {
      if (this.#idle.size + this.#busy.size <= this.#parts.max) return;
      this.#idle.delete(key);
    }
  }

  #enqueue(cursor: Cursor): void {
    cursor.dueAt = this.#parts.env.ticks() + this.#parts.writeMs;
    this.#later.push({ cursor, dueAt: cursor.dueAt });
  }

  #pump(): void {
    const { ticks, log } = this.#parts.env;
    const now = ticks();
    this.#allow(now);
    const store = this.#reads?.store;
    if (store?.connected !== true || now < this.#pausedUntil) return;
    while (this.#sending < WINDOW && (this.#allowed >= 1 || this.#all)) {
      const cursor = next(this.#urgent, now) ?? next(this.#later, this.#all ? Number.POSITIVE_INFINITY : now);
      if (cursor === undefined) return;
      cursor.sending = true;
      cursor.dueAt = -1;
      this.#sending++;
      this.#allowed--;
      const { want } = cursor;
      this.#write(store, cursor, want as Position)
        .catch((error: unknown) => {
          log.error({ err: error }, 'writing a cursor has failed');
          return 'failed' as const;
        })
        .then((outcome) => this.#written(cursor, want, outcome));
    }
  }

  #allow(now: number): void {
    const { perSecond } = this.#parts;
    const gained = ((now - this.#allowedAt) * perSecond) / 1000;
    this.#allowed = Math.min(Math.max(1, (SAVED_MS * perSecond) / 1000), this.#allowed + gained);
    this.#allowedAt = now;
  }

  async #write(store: CursorStore, cursor: Cursor, want: Position): Promise<Outcome> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      // The stream of the room was made anew: this position would take the place of one that means something.

      if (!store.isCurrent(cursor.shard, want.epoch)) return 'void';
      const known = cursor.known ?? (await store.latest(cursor.subject));
      if (typeof known === 'string') return 'failed';
      cursor.known = known;
      if (covers(known.position, want)) return 'stored';
      const written = await store.write(cursor.subject, want, known.place);
      if (typeof written === 'number') {
        this.#writes++;
        cursor.known = { place: written, position: want };
        return 'stored';
      }
      // Whatever was not refused may have been stored: what it follows next time is not known.
      cursor.known = undefined;
      if (written !== 'conflict') return 'failed';
      this.#conflicts++;
    }
    return 'failed';
  }

  #written(cursor: Cursor, sent: Position | undefined, outcome: Outcome): void {
    this.#sending--;
    cursor.sending = false;
    if (outcome === 'failed') {
      this.#failures++;
      this.#pausedUntil = this.#parts.env.ticks() + PAUSE_MS;
    } else if (cursor.want === sent) {
      cursor.want = undefined;
      this.#busy.delete(cursor.key);
      this.#shares.add(cursor.tenant, -1);
      this.#rest(cursor);
    }
    if (cursor.want !== undefined) this.#again(cursor);
    this.#pump();
  }

  /** It has moved meanwhile, or was not stored. */
  #again(cursor: Cursor): void {
    if (cursor.dueAt === 0) this.#urgent.push({ cursor, dueAt: 0 });
    else this.#enqueue(cursor);
  }
}

function next(turns: Queue<Turn>, now: number): Cursor | undefined {
  for (let turn = turns.first; turn !== undefined && turn.dueAt <= now; turn = turns.first) {
    turns.shift();
    if (turn.cursor.dueAt === turn.dueAt && !turn.cursor.sending) return turn.cursor;
  }
  return undefined;
}
