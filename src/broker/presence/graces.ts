import { CLOSE_CODES } from '../../protocol/codes.ts';
import type { Cluster } from '../cluster.ts';
import { TenantShares } from '../limits/tenant-shares.ts';
import type { Membership } from '../membership.ts';
import type { Clock } from '../ports.ts';
import { Seconds, type Timed } from '../seconds.ts';
import type { PresenceSettings } from '../settings.ts';
import { isFinal } from '../tally.ts';
import type { RoomPresence } from './view.ts';

/** A connection that was lost, and whose user stays. */
interface Lost extends Timed {
  readonly view: RoomPresence;
  readonly tenant: string;
  readonly user: string;
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}

export interface GracesParts {
  readonly settings: PresenceSettings;
  readonly cluster: Pick<Cluster, 'connected'>;
  readonly clock: Clock;
  /** Somebody stays no longer, or is back. */
  readonly changed: (view: RoomPresence) => void;
}

/** While other nodes cannot be heard. */
const AGAIN_S = 1;

/** Who has lost the connection and stays in the rooms for a while, since the session may come back. */
export class Graces {
  readonly #settings: PresenceSettings;
  readonly #parts: GracesParts;
  readonly #lost = new Map<string, Lost>();
  readonly #shares: TenantShares;
  readonly #due: Seconds<Lost>;
  /** By session, until it is known to go on elsewhere: a node that drains ends soon. */
  readonly #drained = new Map<string, readonly Lost[]>();

  constructor(parts: GracesParts) {
    this.#parts = parts;
    this.#settings = parts.settings;
    this.#shares = new TenantShares(parts.settings.kept);
    this.#due = new Seconds(parts.clock.now());
  }

  /** Connections, times the rooms that they were in. */
  get size(): number {
    return this.#lost.size;
  }

  /** Whether no more of the tenant are kept: too many are, of it or of all. */
  full(tenant: string): boolean {
    return this.#shares.check(tenant) !== 'free';
  }

  /** How long a member stays whose connection ended with the code. */
  of(closeCode: number): number {
    const { graceMs, drainGraceMs } = this.#settings;
    if (isFinal(closeCode)) return 0;
    // Sent away for no fault of theirs, and as fast as all are that come back with them; with `overloaded` later still.
    const away = closeCode === CLOSE_CODES.drain.code || closeCode === CLOSE_CODES.overloaded.code;
    return away && graceMs > 0 ? Math.max(graceMs, drainGraceMs) : graceMs;
  }

  /** false: too many are kept already. */
  keep(member: Membership, view: RoomPresence, graceMs: number): boolean {
    const { tenant } = member.room.ref;
    if (this.full(tenant)) return false;
    const since = this.#parts.clock.now();
    const lost: Lost = { view, tenant, user: member.user, id: lostId(member), since, due: 0 };
    const before = this.#lost.get(lost.id);
    if (before !== undefined) this.#release(before);
    this.#lost.set(lost.id, lost);
    this.#shares.add(tenant, 1);
    this.#due.set(lost, (since + graceMs) / 1000);
    if (graceMs > this.#settings.graceMs) {
      const { id } = member.owner;
      this.#drained.set(id, [...(this.#drained.get(id) ?? []), lost]);
    }
    return true;
  }

  /** The session is back in the room. */
  found(member: Membership, view: RoomPresence): void {
    if (this.#lost.size === 0) return;
    const lost = this.#lost.get(lostId(member));
    if (lost?.view === view) this.#release(lost);
  }

  /** The session has a connection on another node, and joins its rooms there. */
  wentOn(session: string): void {
    const until = (this.#parts.clock.now() + this.#settings.graceMs) / 1000;
    for (const lost of this.#drained.get(session) ?? [])
      if (this.#lost.get(lost.id) === lost) this.#due.set(lost, until);
    this.#drained.delete(session);
  }

  /** To be called about once a second. */
  tick(now: number): void {
    for (const lost of this.#due.take(now))
      if (this.#mayBeElsewhere(lost, now)) this.#due.set(lost, now / 1000 + AGAIN_S);
      else this.#release(lost);
  }

  /** Other nodes cannot be heard: they may have the session, and are waited for as long as in a drain. */
  #mayBeElsewhere({ view, since }: Lost, now: number): boolean {
    const deaf = !this.#parts.cluster.connected || !view.whole;
    return deaf && now < since + this.#settings.drainGraceMs;
  }

  #release(lost: Lost): void {
    this.#due.delete(lost);
    this.#lost.delete(lost.id);
    this.#shares.add(lost.tenant, -1);
    lost.view.own.released(lost.user);
    this.#parts.changed(lost.view);
  }
}

function lostId(member: Membership): string {
  return `${member.owner.id}\0${member.room.ref.key}`;
}
