import { keepsCursor } from '../commands/cursor.ts';
import type { Domain } from '../domain.ts';
import { hashOf, type RoomEvent } from '../event.ts';
import type { Membership } from '../membership.ts';
import type { Fault, HistoryPage, HistoryQuery, RoomRef } from '../ports.ts';
import { roomKey } from '../rooms.ts';
import type { Session } from '../session.ts';
import { NO_SUCH_ROOM } from '../session.ts';
import { type Finding, infer, type Membering, type Message, type Testimony } from './infer.ts';
import type { EventRing } from './ring.ts';
import type { Departed, Note, Refusal, Trail } from './trail.ts';

/** Exactly one of `seq` and `msgId`. */
export interface FateQuestion {
  readonly tenant: string;
  readonly room: string;
  readonly user: string;
  readonly seq?: number | undefined;
  readonly epoch?: string | undefined;
  readonly msgId?: string | undefined;
  /** When the message was accepted, where the asking node knows it. */
  readonly ts?: number | undefined;
}

/** The message, as the history has it. */
export interface Found {
  readonly seq: number;
  readonly epoch: string;
  readonly ts: number;
  readonly from: string;
  readonly msgId?: string;
}

export interface SessionFate extends Finding {
  readonly session: string;
  readonly connectedAt: number;
  /** Absent: the connection is open. */
  readonly closed?: { readonly at: number; readonly code: number; readonly reason: string };
  /** Bytes that wait in its socket, or did when it was closed from here; absent: nobody knows. */
  readonly unsent?: number;
}

/** What one node says. */
export interface NodeFate {
  readonly node: string;
  /** Sessions that ended earlier are not known any more; milliseconds since 1970. */
  readonly since: number;
  /** The message as it passed here. In a live room positions are the node's own. */
  readonly passed?: {
    readonly epoch: string;
    readonly seq?: number;
    readonly ts: number;
    readonly at?: number;
  };
  readonly sessions: readonly SessionFate[];
  /** Publishes of this msgId that were refused here. */
  readonly refused: readonly RefusedPublish[];
}

/** `user` is absent where a backend published. */
export interface RefusedPublish extends Pick<Refusal, 'code' | 'at'> {
  readonly user?: string;
}

/** Pages of history that are looked through for a msgId. */
const PAGES = 10;
/** Of a user, on one node: the newest. */
const SESSIONS = 50;
const REFUSALS = 20;

/** Who a session was, whether it is still there or not. */
interface Known {
  readonly session: string;
  readonly stamp: number;
  readonly connectedAt: number;
  readonly trail: Trail;
  readonly live?: Session;
  readonly departed?: Departed;
}

export class Fates {
  readonly #domain: Domain;
  readonly #sessions: ReadonlyMap<string, Session>;

  constructor(domain: Domain, sessions: ReadonlyMap<string, Session>) {
    this.#domain = domain;
    this.#sessions = sessions;
  }

  ref(tenant: string, room: string): RoomRef | Fault {
    return this.#domain.rooms.ref(tenant, room) ?? NO_SUCH_ROOM;
  }

  /** The message in the history. gone: it is not kept (any more); none: there never was such a one. */
  async find(ref: RoomRef, { seq, epoch, msgId }: FateQuestion): Promise<Found | Fault | 'gone' | 'none'> {
    if (!this.#domain.bus.keeps(ref)) return 'gone';
    if (msgId !== undefined) return this.#search(ref, msgId);
    if (seq === undefined) return 'gone';
    const page = await this.#history(ref, { after: seq - 1, limit: 1 });
    if (!page.ok) return page;
    if (epoch !== undefined && epoch !== page.epoch) return 'gone';
    const [event] = page.events;
    if (event?.seq === seq) return foundOf(page, event);
    return page.truncated ? 'gone' : 'none';
  }

  /** Up to where the user has seen the room, by its own word; undefined: nobody keeps that. */
  seen(ref: RoomRef, user: string): Promise<{ readonly epoch: string; readonly seq: number } | undefined> {
    if (!keepsCursor(this.#domain, ref)) return Promise.resolve(undefined);
    return new Promise((done) =>
      this.#domain.cursors.get(ref, user, (cursor) =>
        done(cursor === undefined || 'ok' in cursor ? undefined : cursor),
      ),
    );
  }

  /** What this node can say. */
  here(question: FateQuestion, node: string): NodeFate {
    const ref = this.#domain.rooms.ref(question.tenant, question.room);
    const ring = ref && this.#domain.witness.rings.get(ref.key);
    const message = messageOf(question, ring);
    const known = this.#known(question).slice(-SESSIONS);
    return {
      node,
      since: this.#domain.witness.trails.since,
      ...passedOf(message, ring),
      sessions:
        message === undefined ? [] : known.map((session) => this.#fate(question, message, session, ring)),
      refused: this.#refused(question),
    };
  }

  #fate({ room }: FateQuestion, message: Message, known: Known, ring: EventRing | undefined): SessionFate {
    const { session, connectedAt, live, departed } = known;
    const finding = infer(message, this.#testimony(room, known, ring));
    const unsent = live === undefined ? departed?.unsent : live.connection.buffered();
    return {
      session,
      connectedAt,
      ...finding,
      ...(departed && { closed: { at: departed.at, code: departed.code, reason: departed.reason } }),
      ...(unsent !== undefined && { unsent }),
    };
  }

  #testimony(room: string, { stamp, trail, live }: Known, ring: EventRing | undefined): Testimony {
    const notes = trail.notes.filter((note) => note.room === room);
    const present = live?.rooms.get(room);
    const { stays, rest } = byStay(notes);
    return {
      stamp,
      memberships: present === undefined ? stays : [...stays, ...this.#present(present, rest)],
      roomGaps: ring?.gaps ?? [],
      refusals: notes.filter((note) => note.kind === 'refused'),
      lostAt: trail.lostAt,
    };
  }

  #present(member: Membership, notes: readonly Note[]): Membering[] {
    const { entered, room } = member;
    if (entered === undefined) return [];
    const { catchUps, slow } = this.#domain;
    const now = { published: room.published, catchUp: catchUps.under(member), away: slow.away(member) };
    return [{ ...entered, now, ...sorted(notes) }];
  }

  /** The oldest first. */
  #known({ tenant, user }: FateQuestion): Known[] {
    const found: Known[] = [];
    for (const departed of this.#domain.witness.trails.departed())
      if (departed.user === user && departed.tenant === tenant) found.push({ ...departed, departed });
    for (const { id } of this.#domain.tenants.known(tenant)?.users.of(user) ?? []) {
      const live = this.#sessions.get(id);
      if (live === undefined) continue;
      const { stamp, connectedAt, trail } = live;
      found.push({ session: id, stamp, connectedAt, trail, live });
    }
    return found;
  }

  /** Of anybody: whoever asks what became of a message may not know that it never was one. */
  #refused({ tenant, room, msgId }: FateQuestion): NodeFate['refused'] {
    if (msgId === undefined) return [];
    const found: RefusedPublish[] = [];
    const look = ({ notes }: Trail, name: string, by: { readonly user?: string }) => {
      for (const note of notes)
        if (note.kind === 'refused' && note.msgId === msgId && note.room === name)
          found.push({ code: note.code, at: note.at, ...by });
    };
    for (const { tenant: of, user, trail } of this.#domain.witness.trails.departed())
      if (of === tenant) look(trail, room, { user });
    for (const { trail, identity } of this.#sessions.values())
      if (trail.notes.length > 0 && identity.tenant === tenant) look(trail, room, { user: identity.user });
    look(this.#domain.witness.backends, roomKey(tenant, room), {});
    return found.slice(-REFUSALS);
  }

  async #search(ref: RoomRef, msgId: string): Promise<Found | Fault | 'gone'> {
    const id = hashOf(msgId);
    let before: number | undefined;
    for (let pages = 0; pages < PAGES; pages++) {
      const page = await this.#history(ref, { before, limit: this.#domain.limits.historyPage });
      if (!page.ok) return page;
      const event = page.events.findLast((each) => each.idHash === id && foundOf(page, each).msgId === msgId);
      if (event !== undefined) return foundOf(page, event);
      before = page.events[0]?.seq;
      if (!page.more || before === undefined) return 'gone';
    }
    return 'gone';
  }

  #history(ref: RoomRef, query: Omit<HistoryQuery, 'maxBytes'>): Promise<HistoryPage | Fault> {
    const { bus, limits } = this.#domain;
    return new Promise((done) => bus.history(ref, { ...query, maxBytes: limits.historyPageBytes }, done));
  }
}

/** Memberships of one room that are over, each with what was noted before its end, and what was noted since. */
function byStay(notes: readonly Note[]): { stays: Membering[]; rest: Note[] } {
  const stays: Membering[] = [];
  let rest: Note[] = [];
  for (const note of notes) {
    if (note.kind !== 'stay') {
      rest.push(note);
      continue;
    }
    const { epoch, from, resumed, joined } = note;
    stays.push({ epoch, from, resumed, joined, over: note, ...sorted(rest) });
    rest = [];
  }
  return { stays, rest };
}

function sorted(notes: readonly Note[]): Pick<Membering, 'gaps' | 'replays' | 'absences'> {
  return {
    gaps: notes.filter((note) => note.kind === 'gap'),
    replays: notes.filter((note) => note.kind === 'replay'),
    absences: notes.filter((note) => note.kind === 'away'),
  };
}

/** undefined: it cannot be told which message is meant. */
function messageOf(
  { seq, epoch, msgId, ts }: FateQuestion,
  ring: EventRing | undefined,
): Message | undefined {
  // In a live room every node has positions of its own: the msgId says which message it is here.
  const remembered =
    seq === undefined
      ? msgId === undefined
        ? undefined
        : ring?.byId(hashOf(msgId))
      : epoch === undefined || epoch === ring?.epoch
        ? ring?.bySeq(seq)
        : undefined;
  const position = seq ?? remembered?.seq;
  if (position === undefined) return undefined;
  const at = ts ?? remembered?.ts;
  return { seq: position, epoch: epoch ?? (remembered && ring?.epoch), remembered, ts: at };
}

function passedOf(message: Message | undefined, ring: EventRing | undefined): Pick<NodeFate, 'passed'> {
  const remembered = message?.remembered;
  if (remembered === undefined || ring === undefined) return {};
  const { seq, ts, at } = remembered;
  return {
    passed: { epoch: ring.epoch, ...(seq > 0 && { seq }), ts, ...(!Number.isNaN(at) && { at }) },
  };
}

function foundOf({ epoch }: HistoryPage, event: RoomEvent): Found {
  const { from, msgId } = JSON.parse(event.json) as { from: string; msgId?: string };
  return { seq: event.seq, epoch, ts: event.ts, from, ...(msgId !== undefined && { msgId }) };
}
