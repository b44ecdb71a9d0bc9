import type { ErrorCode } from '../../protocol/codes.ts';
import type { GapAction, GapReason } from '../../protocol/frames.ts';
import type { Moment } from './ring.ts';

/** A membership that is over. Times are milliseconds since 1970, positions those of `epoch`. */
export interface Stay {
  readonly kind: 'stay';
  readonly room: string;
  readonly epoch: string;
  /** The position that its events begin after. */
  readonly from: number;
  /** It began with a position that the client had. */
  readonly resumed: boolean;
  readonly joined: Moment;
  readonly ended: Moment;
  readonly at: number;
  /** The room's position at its end, and the last one that was handed to the socket. */
  readonly to: number;
  readonly handed: number;
  /** Why the server ended it. */
  readonly code?: ErrorCode;
}

/** What the client was told that it does not receive. */
export interface ToldGap {
  readonly kind: 'gap';
  readonly room: string;
  readonly from: number;
  readonly to: number;
  readonly reason: GapReason;
  readonly action: GapAction;
  readonly at: number;
}

/** Events that came by a catch-up. */
export interface Replay {
  readonly kind: 'replay';
  readonly room: string;
  readonly from: number;
  readonly to: number;
  readonly began: Moment;
  readonly ended: Moment;
  readonly at: number;
}

/** The member was off its topic because it read too slowly, with `skip` or `latest`. */
export interface Absence {
  readonly kind: 'away';
  readonly room: string;
  readonly from: number;
  readonly to: number;
  readonly began: Moment;
  readonly ended: Moment;
  readonly at: number;
  readonly action: GapAction;
  /** With `latest`: positions that were sent after all. */
  readonly kept: readonly number[];
}

export interface Refusal {
  readonly kind: 'refused';
  readonly what: 'pub' | 'join';
  readonly room: string;
  readonly msgId?: string;
  readonly code: ErrorCode;
  readonly at: number;
}

export type Note = Stay | ToldGap | Replay | Absence | Refusal;

/** What a note costs in memory: the object, its slot. What it says of texts is kept elsewhere but for msgIds. */
const NOTE_BYTES = 200;

export function noteBytes(note: Note): number {
  if (note.kind === 'away') return NOTE_BYTES + 8 * note.kept.length;
  return note.kind === 'refused' && note.msgId !== undefined
    ? NOTE_BYTES + 2 * note.msgId.length
    : NOTE_BYTES;
}

const NO_NOTES: readonly Note[] = [];

/** What has happened to one session, the newest notes of it. */
export class Trail {
  /** Most sessions never have any. */
  #notes: Note[] | undefined;
  bytes = 0;
  /** When the newest of those notes was made that are not kept any more; 0: all are. */
  lostAt = 0;

  get notes(): readonly Note[] {
    return this.#notes ?? NO_NOTES;
  }

  add(note: Note, max: number): void {
    this.#notes ??= [];
    this.#notes.push(note);
    this.bytes += noteBytes(note);
    if (this.#notes.length <= max) return;
    const lost = this.#notes.shift() as Note;
    this.bytes -= noteBytes(lost);
    this.lostAt = lost.at;
  }

  /** Forgets everything. */
  clear(now: number): void {
    if (this.notes.length > 0) this.lostAt = now;
    this.#notes = undefined;
    this.bytes = 0;
  }
}

/** A session whose connection is over. */
export interface Departed {
  readonly session: string;
  readonly tenant: string;
  readonly user: string;
  readonly stamp: number;
  readonly connectedAt: number;
  readonly at: number;
  /** Close code, and this side's reason if it was this side. */
  readonly code: number;
  readonly reason: string;
  /** Bytes that the kernel had not taken when this side ended it; undefined: nobody knows. */
  readonly unsent: number | undefined;
  readonly trail: Trail;
}

/** What a departed session costs beside its notes. */
const DEPARTED_BYTES = 320;

export interface TrailLimits {
  /** Of one session. */
  readonly sessionNotes: number;
  /** Of all notes and departed sessions. */
  readonly bytes: number;
  /** How long departed sessions are kept. */
  readonly keepMs: number;
}

/** The trails of a node within one number of bytes: the sessions that departed first are forgotten first. */
export class Trails {
  readonly #limits: TrailLimits;
  /** In the order of their departures. */
  readonly #departed = new Set<Departed>();
  /** Trails of sessions that are here, in the order of their first notes. */
  readonly #present = new Set<Trail>();
  #bytes = 0;
  /** Sessions that departed before are not, or not all, known. */
  #since: number;

  constructor(limits: TrailLimits, now: number) {
    this.#limits = limits;
    this.#since = now;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Departures since then are all here; milliseconds since 1970. */
  get since(): number {
    return this.#since;
  }

  departed(): Iterable<Departed> {
    return this.#departed;
  }

  note(trail: Trail, note: Note, now: number): void {
    this.#present.add(trail);
    this.#bytes -= trail.bytes;
    trail.add(note, this.#limits.sessionNotes);
    this.#bytes += trail.bytes;
    this.#fit(now);
  }

  depart(session: Departed): void {
    this.#present.delete(session.trail);
    this.#departed.add(session);
    this.#bytes += DEPARTED_BYTES;
    this.#fit(session.at);
  }

  /** To be called about once a second. */
  tick(now: number): void {
    for (const session of this.#departed) {
      if (session.at + this.#limits.keepMs > now) return;
      this.#forget(session);
    }
  }

  #fit(now: number): void {
    if (this.#bytes <= this.#limits.bytes) return;
    for (const session of this.#departed) {
      this.#forget(session);
      if (this.#bytes <= this.#limits.bytes) return;
    }
    for (const trail of this.#present) {
      this.#bytes -= trail.bytes;
      trail.clear(now);
      this.#present.delete(trail);
      if (this.#bytes <= this.#limits.bytes) return;
    }
  }

  #forget(session: Departed): void {
    this.#departed.delete(session);
    this.#bytes -= DEPARTED_BYTES + session.trail.bytes;
    this.#since = Math.max(this.#since, session.at);
  }
}
