/** What was revoked before its time: tokens by `jti`, users' tokens issued before a time, sessions. */
import type { Store, StoreEntry, Unstored } from '../cluster.ts';
import type { Clock, Identity, Log } from '../ports.ts';

export type RevocationTarget =
  /** `exp`: of the token, in seconds since 1970, where it is known. */
  | { readonly kind: 'token'; readonly tokenId: string; readonly tenant?: string; readonly exp?: number }
  /** Tokens issued before that many seconds since 1970, or now; one that does not say when it was issued is among them. */
  | { readonly kind: 'user'; readonly user: string; readonly tenant?: string; readonly before?: number }
  /** The session and its tickets: with the token behind it another session can begin. */
  | { readonly kind: 'session'; readonly session: string; readonly tenant?: string };

/** What is stored. Without a tenant: of every one. */
type Revocation =
  | (Exclude<RevocationTarget, { kind: 'user' }> & { readonly reason: string })
  | UserRevocation;

interface UserRevocation {
  readonly kind: 'user';
  readonly user: string;
  readonly tenant?: string;
  readonly before: number;
  readonly reason: string;
}

export type Revoked =
  | { readonly ok: true /** Milliseconds since 1970. */; readonly until: number }
  /** future: that is what bans are for. */
  | { readonly ok: false; readonly why: Unstored | 'future' };

export interface RevocationParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes a short key of a text; two texts never have the same. */
  readonly digest: (text: string) => string;
  /** The longest life of a token. */
  readonly tokenLifeMs: number;
  readonly ticketTtlSeconds: number;
}

/** Clocks of nodes and issuers differ; `auth.clockToleranceSeconds` is within this. */
const SLACK_MS = 60_000;
/** Two nodes that revoke at once: each attempt knows more of what the other has stored. */
const ATTEMPTS = 5;

/** Kept in step with the store, so that a check is two or three looks into maps. */
export class Revocations {
  readonly #parts: RevocationParts;
  readonly #tokens = new Map<string, Revocation>();
  readonly #users = new Map<string, UserRevocation>();
  readonly #sessions = new Map<string, Revocation>();

  constructor(parts: RevocationParts) {
    this.#parts = parts;
    for (const entry of parts.store.entries()) this.#add(entry);
    parts.store.watch(({ entry, before }) => {
      if (before !== undefined) this.#remove(before);
      if (entry !== undefined) this.#add(entry);
    });
  }

  get size(): number {
    return this.#parts.store.size;
  }

  /** Why the credential is not good any more. */
  of({ tenant, user, tokenId, issuedAt = 0 }: Identity): string | undefined {
    if (tokenId !== undefined && this.#tokens.size > 0) {
      const token = this.#tokens.get(tokenKey(tokenId, tenant)) ?? this.#tokens.get(tokenKey(tokenId));
      if (token !== undefined) return told(token);
    }
    if (this.#users.size === 0) return undefined;
    // The tenant's and the one of all tenants may name different times.
    return this.#userBefore(userKey(user, tenant), issuedAt) ?? this.#userBefore(userKey(user), issuedAt);
  }

  ofSession(session: string, tenant: string): string | undefined {
    if (this.#sessions.size === 0) return undefined;
    const found = this.#sessions.get(sessionKey(session, tenant)) ?? this.#sessions.get(sessionKey(session));
    return found && told(found);
  }

  /** Here at once when it resolves, on the other nodes within a second. */
  async revoke(target: RevocationTarget, reason: string): Promise<Revoked> {
    const { store, clock, digest } = this.#parts;
    if (target.kind === 'user' && (target.before ?? 0) * 1000 > clock.now() + SLACK_MS)
      return { ok: false, why: 'future' };
    const key = digest(textOf(target));
    let outcome: Revoked = { ok: false, why: 'conflict' };
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const there = store.get(key);
      const now = clock.now();
      const value = stamped(target, reason, now, this.#read(there));
      const ttlMs = Math.max(SLACK_MS, this.#until(value, now) - now);
      const stored = await store.put(key, value, { ttlMs, revision: there?.revision ?? 0 });
      if (stored.ok) return { ok: true, until: Math.round(now + ttlMs) };
      outcome = stored;
      if (stored.why !== 'conflict') break;
    }
    return outcome;
  }

  /** Until nothing can come any more that it would refuse. */
  #until(target: Revocation, now: number): number {
    const { tokenLifeMs, ticketTtlSeconds } = this.#parts;
    if (target.kind === 'session') return now + ticketTtlSeconds * 1000 + SLACK_MS;
    if (target.kind === 'user') return target.before * 1000 + tokenLifeMs + SLACK_MS;
    return (target.exp === undefined ? now + tokenLifeMs : target.exp * 1000) + SLACK_MS;
  }

  #userBefore(key: string, issuedAt: number): string | undefined {
    const found = this.#users.get(key);
    return found !== undefined && issuedAt < found.before ? told(found) : undefined;
  }

  #add(entry: StoreEntry): void {
    const revocation = this.#read(entry);
    if (revocation?.kind === 'token')
      this.#tokens.set(tokenKey(revocation.tokenId, revocation.tenant), revocation);
    else if (revocation?.kind === 'user')
      this.#users.set(userKey(revocation.user, revocation.tenant), revocation);
    else if (revocation !== undefined)
      this.#sessions.set(sessionKey(revocation.session, revocation.tenant), revocation);
  }

  #remove(entry: StoreEntry): void {
    const revocation = this.#read(entry);
    if (revocation?.kind === 'token') this.#tokens.delete(tokenKey(revocation.tokenId, revocation.tenant));
    else if (revocation?.kind === 'user') this.#users.delete(userKey(revocation.user, revocation.tenant));
    else if (revocation !== undefined)
      this.#sessions.delete(sessionKey(revocation.session, revocation.tenant));
  }

  #read(entry: StoreEntry | undefined): Revocation | undefined {
    if (entry === undefined) return undefined;
    const value = entry.value as Partial<Revocation> | null;
    if (value?.kind === 'token' || value?.kind === 'user' || value?.kind === 'session')
      return value as Revocation;
    this.#parts.log.error({ key: entry.key }, 'a revocation of a kind that this version does not know');
    return undefined;
  }
}

function told({ reason }: Revocation): string {
  return reason === '' ? 'revoked' : `revoked: ${reason}`;
}

/** A user's tokens revoked up to one time stay so when an earlier one is named. */
function stamped(
  target: RevocationTarget,
  reason: string,
  now: number,
  there: Revocation | undefined,
): Revocation {
  if (target.kind !== 'user') return { ...target, reason };
  const before = target.before ?? now / 1000;
  return { ...target, reason, before: there?.kind === 'user' ? Math.max(before, there.before) : before };
}

/** No tenant has a space in its name, nor is one empty. */
function tokenKey(tokenId: string, tenant = ''): string {
  return `${tenant} ${tokenId}`;
}

function userKey(user: string, tenant = ''): string {
  return `${tenant} ${user}`;
}

function sessionKey(session: string, tenant = ''): string {
  return `${tenant} ${session}`;
}

function textOf(target: RevocationTarget): string {
  if (target.kind === 'session')
    return target.tenant === undefined
      ? `session ${target.session}`
      : `session ${sessionKey(target.session, target.tenant)}`;
  return target.kind === 'token'
    ? `token ${tokenKey(target.tokenId, target.tenant)}`
    : `user ${userKey(target.user, target.tenant)}`;
}
