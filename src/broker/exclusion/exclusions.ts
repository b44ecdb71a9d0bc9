/** Everybody who is kept out, whatever for: the one place that is asked at connects, resumes and refreshes. */
import type { CloseReason } from '../../protocol/codes.ts';
import type { Cluster, Store, StoreEntry } from '../cluster.ts';
import type { ConnectRefusal } from '../limits/admission.ts';
import type { Clock, Identity, Log, TokenVerifier, Verdict } from '../ports.ts';
import type { AbuseSettings } from '../settings.ts';
import { Abuse } from './abuse.ts';
import { type Ban, Bans } from './bans.ts';
import { Revocations } from './revocations.ts';

export interface ExclusionParts {
  readonly cluster: Pick<Cluster, 'store'>;
  readonly abuse: AbuseSettings;
  readonly tokenLifeMs: number;
  readonly ticketTtlSeconds: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes a short key of a text; two texts never have the same. */
  readonly digest: (text: string) => string;
}

/** How a client is told, before a connection (HTTP) and on one. */
export interface Exclusion extends ConnectRefusal {
  readonly close: CloseReason;
}

const CAUSES = ['revoked', 'banned_identity', 'banned_address'] as const;
export type Cause = (typeof CAUSES)[number];

export class Exclusions {
  readonly revocations: Revocations;
  readonly bans: Bans;
  readonly abuse: Abuse;
  readonly #stores: readonly Store[];

  constructor({ cluster, abuse, ...parts }: ExclusionParts) {
    const revoked = cluster.store('revocations');
    const manual = cluster.store('bans');
    const automatic = cluster.store('bans-automatic');
    this.revocations = new Revocations({ ...parts, store: revoked });
    this.bans = new Bans({ ...parts, manual, automatic });
    this.abuse = new Abuse({ ...parts, settings: abuse, bans: this.bans, made: () => automatic.size });
    this.#stores = [revoked, manual, automatic];
  }

  /** After every change that may exclude somebody who is connected. */
  watch(changed: (cause: Cause) => void): void {
    // What is taken out excludes nobody new.
    for (const store of this.#stores)
      store.watch(({ entry }) => entry !== undefined && changed(causeOf(entry)));
  }

  /** Known before any credential is looked at. */
  ofAddress(address: string): Exclusion | undefined {
    const ban = this.bans.ofAddress(address);
    return ban && banned('banned_address', ban);
  }

  /** As a handshake asks: first of the address alone. */
  find(address: string, identity?: Identity, session?: string): Exclusion | undefined {
    return identity === undefined ? this.ofAddress(address) : this.of(identity, address, session);
  }

  /** @param session of a resume, or of a live connection */
  of(
    identity: Identity,
    address: string,
    session?: string,
    causes: Iterable<Cause> = CAUSES,
  ): Exclusion | undefined {
    for (const cause of causes) {
      const found = this.#by(cause, identity, address, session);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #by(cause: Cause, identity: Identity, address: string, session?: string): Exclusion | undefined {
    if (cause === 'banned_address') return this.ofAddress(address);
    if (cause === 'banned_identity') {
      const ban = this.bans.of(identity);
      return ban && banned(cause, ban);
    }
    const reason =
      this.revocations.of(identity) ??
      (session === undefined ? undefined : this.revocations.ofSession(session));
    return reason === undefined
      ? undefined
      : { by: cause, status: 401, code: 'unauthorized', close: 'unauthorized', reason };
  }

  /** A verifier that takes no revoked token, whatever it remembers of it. */
  guard(verifier: TokenVerifier): TokenVerifier {
    return {
      known: (token) => {
        const verdict = verifier.known(token);
        return verdict && this.#judged(verdict);
      },
      verify: async (token) => this.#judged(await verifier.verify(token)),
    };
  }

  #judged(verdict: Verdict): Verdict {
    const reason = verdict.ok ? this.revocations.of(verdict.identity) : undefined;
    return reason === undefined ? verdict : { ok: false, code: 'unauthorized', reason };
  }
}

function causeOf({ value }: StoreEntry): Cause {
  const { kind, by } = value as Partial<Ban>;
  if (by === undefined) return 'revoked';
  return kind === 'network' ? 'banned_address' : 'banned_identity';
}

function banned(by: 'banned_address' | 'banned_identity', { reason }: Ban): Exclusion {
  return {
    by,
    status: 403,
    code: 'forbidden',
    close: 'forbidden',
    reason: reason === '' ? 'banned' : `banned: ${reason}`,
  };
}
