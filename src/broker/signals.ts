import type { Usage } from './ledger.ts';
import { TenantShares } from './limits/tenant-shares.ts';
import type { After, Bus, Clock, Defer, Fault, Publication, Ticks } from './ports.ts';
import type { EphemeralLimits } from './settings.ts';
import type { Tally } from './tally.ts';
import type { Tracing } from './tracing.ts';

/** Whose signal it is: a session. */
export interface Signaller {
  readonly ended: boolean;
  readonly tenant: { readonly usage: Pick<Usage, 'tookEphemeral'> };
}

export interface SignalsParts {
  readonly bus: Pick<Bus, 'publish'>;
  readonly limits: EphemeralLimits;
  readonly tracing: Tracing;
  readonly clock: Clock;
  readonly ticks: Ticks;
  readonly defer: Defer;
  readonly after: After;
  readonly tally: Tally;
}

interface Held {
  readonly publication: Publication;
  readonly by: Signaller;
  readonly bytes: number;
}

/** One room, user and key whose window is open. */
class Slot {
  readonly id: string;
  readonly tenant: string;
  /** The end of the window, in milliseconds since 1970. */
  until: number;
  /** What goes out then; undefined: nothing has come since the window began. */
  newest: Held | undefined;
  next: Slot | undefined;

  constructor(id: string, tenant: string, until: number) {
    this.id = id;
    this.tenant = tenant;
    this.until = until;
  }
}

/** Slots with windows of one length, those that end first in front. */
class Line {
  readonly windowMs: number;
  /** Its timer runs, or a turn of the loop has been asked for. */
  armed = false;
  head: Slot | undefined;
  #tail: Slot | undefined;

  constructor(windowMs: number) {
    this.windowMs = windowMs;
  }

  push(slot: Slot): void {
    if (this.#tail === undefined || this.head === undefined) this.head = slot;
    else this.#tail.next = slot;
    this.#tail = slot;
  }

  shift(slot: Slot): void {
    this.head = slot.next;
    slot.next = undefined;
  }
}

/** What all windows that end may take of one turn of the loop. */
const TURN_MS = 5;

/**
 * Ephemeral publishes with a key, in rooms that say how many there may be: of each room, user and key the first goes out
 * at once, and of what comes within the window after it the newest, at its end. So they stay in order, and a state that
 * has come to rest is told. Each node does so with what it takes from clients, before the bus.
 *
 * A slot lives from its first signal to the end of a window in which none came: what falls due also forgets.
 */
export class Signals {
  readonly #parts: SignalsParts;
  readonly #slots = new Map<string, Slot>();
  readonly #lines = new Map<number, Line>();
  readonly #entries: TenantShares;
  /** Of the payloads that wait. */
  readonly #bytes: TenantShares;

  constructor(parts: SignalsParts) {
    this.#parts = parts;
    this.#entries = new TenantShares(parts.limits.entries);
    this.#bytes = new TenantShares(parts.limits.bytes);
  }

  /** `now`: to be published by the caller; `held`: it goes out later, unless a newer one takes its place. */
  offer(publication: Publication, perSecond: number, by: Signaller): 'now' | 'held' | Fault {
    const id = idOf(publication);
    const slot = this.#slots.get(id);
    return slot === undefined
      ? this.#open(id, publication.room.tenant, Math.ceil(1000 / perSecond))
      : this.#hold(slot, publication, by);
  }

  #open(id: string, tenant: string, windowMs: number): 'now' | Fault {
    const { limits, clock } = this.#parts;
    const place = this.#entries.check(tenant);
    if (place === 'full') return over('signals', limits.entries, this.#slots.size, windowMs);
    if (place === 'over') return overShare('signals', this.#entries.of(tenant), windowMs);
    this.#entries.add(tenant, 1);
    const slot = new Slot(id, tenant, clock.now() + windowMs);
    this.#slots.set(id, slot);
    const line = this.#lineOf(windowMs);
    line.push(slot);
    this.#arm(line);
    this.#count();
    return 'now';
  }

  #hold(slot: Slot, publication: Publication, by: Signaller): 'held' | Fault {
    const { limits, tally } = this.#parts;
    const before = slot.newest;
    // A copy: the text is a slice of the frame that it came in, and would keep all of it.
    const payload = Buffer.from(publication.payload);
    const added = payload.byteLength - (before?.bytes ?? 0);
    const place = added > 0 ? this.#bytes.check(slot.tenant, added) : 'free';
    if (place === 'full') return over('bytes of signals', limits.bytes, this.#bytes.all, 1000);
    if (place === 'over') return overShare('bytes of signals', this.#bytes.of(slot.tenant), 1000);
    if (before !== undefined) tally.signal('superseded');
    slot.newest = {
      publication: { ...publication, payload: payload.toString() },
      by,
      bytes: payload.byteLength,
    };
    this.#bytes.add(slot.tenant, added);
    this.#count();
    return 'held';
  }

  #lineOf(windowMs: number): Line {
    let line = this.#lines.get(windowMs);
    if (line === undefined) {
      line = new Line(windowMs);
      this.#lines.set(windowMs, line);
    }
    return line;
  }

  #arm(line: Line): void {
    const { after, clock } = this.#parts;
    if (line.armed || line.head === undefined) return;
    line.armed = true;
    after(Math.max(1, line.head.until - clock.now()), () => this.#due(line));
  }

  #due(line: Line): void {
    const { ticks, defer, clock } = this.#parts;
    const stop = ticks() + TURN_MS;
    const now = clock.now();
    for (let slot = line.head; slot !== undefined && isDue(slot, line, now); slot = line.head) {
      if (ticks() >= stop) {
        defer(() => this.#due(line));
        return;
      }
      line.shift(slot);
      this.#end(slot, line, now);
    }
    line.armed = false;
    this.#count();
    this.#arm(line);
  }

  /** The window is over: the next one begins with what it has left, if anything. */
  #end(slot: Slot, line: Line, now: number): void {
    const { newest } = slot;
    slot.newest = undefined;
    if (newest !== undefined) this.#bytes.add(slot.tenant, -newest.bytes);
    if (newest === undefined || newest.by.ended) {
      // What a user was about to do is over with the connection that said so.
      if (newest !== undefined) this.#parts.tally.signal('dropped');
      this.#slots.delete(slot.id);
      this.#entries.add(slot.tenant, -1);
      return;
    }
    slot.until = now + line.windowMs;
    line.push(slot);
    publishEphemeral(this.#parts, newest.publication, newest.by);
  }

  #count(): void {
    this.#parts.tally.signalSlots = this.#slots.size;
    this.#parts.tally.signalBytes = this.#bytes.all;
  }
}

/** Counted apart from what quotas are about. `settle` gets the outcome. */
export function publishEphemeral(
  { bus, tally, tracing }: Pick<SignalsParts, 'bus' | 'tally' | 'tracing'>,
  publication: Publication,
  { tenant }: Signaller,
  settle?: Parameters<Bus['publish']>[1],
): void {
  const span = tracing.publish(publication.room, publication.payload, publication.traceparent);
  const traced = span === undefined ? publication : { ...publication, traceparent: span.traceparent };
  bus.publish(traced, (outcome) => {
    span?.end(outcome);
    tally.signal(outcome.ok ? 'sent' : 'refused');
    if (outcome.ok) tenant.usage.tookEphemeral();
    settle?.(outcome);
  });
}

/** With the length of the name, since users and keys may have any character in them. */
function idOf({ room, from, key }: Publication): string {
  return `${room.key}\0${from.length}\0${from}${key}`;
}

/** A clock that was set back must not hold up what waits. */
function isDue({ until }: Slot, { windowMs }: Line, now: number): boolean {
  return until <= now || until > now + windowMs;
}

function over(what: string, limit: number, used: number, retryAfterMs: number): Fault {
  const reason = `this node holds as many ${what} as it may (limits.ephemeral)`;
  return { ok: false, code: 'overloaded', reason, limit, used, retryAfterMs };
}

function overShare(what: string, used: number, retryAfterMs: number): Fault {
  const reason = `the tenant has ${used} ${what} on this node, as many as are left for all others (limits.ephemeral)`;
  return { ok: false, code: 'quota_exceeded', reason, limit: used, used, retryAfterMs };
}
