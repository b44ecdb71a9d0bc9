/** Everybody who is kept out, whatever for. The gate asks for every credential, the sweep for every live session. */
import type { CloseReason } from '../../protocol/codes.ts';
import type { Cluster, Store, StoreEntry } from '../cluster.ts';
import type { Clock, Identity, Log } from '../ports.ts';
import type { AbuseSettings } from '../settings.ts';
import { Abuse } from './abuse.ts';
import { type Ban, Bans } from './bans.ts';
import { Revocations } from './revocations.ts';
import type { TokenLife } from './token-life.ts';

export interface ExclusionParts {
  readonly cluster: Pick<Cluster, 'store'>;
  readonly abuse: AbuseSettings;
  readonly life: TokenLife;
  readonly ticketTtlSeconds: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes a short key of a text; two texts never have the same. */
  readonly digest: (text: string) => string;
}

/** How a client is told, before a connection (HTTP) and on one. */
export interface Exclusion {
  readonly by: Cause;
  readonly code: 'unauthorized' | 'forbidden';
  readonly reason: string;
  readonly close: CloseReason;
}

const CAUSES = ['revoked', 'banned_identity', 'banned_address'] as const;
const CAUSES_OF_IDENTITY = ['revoked', 'banned_identity'] as const;
export type Cause = (typeof CAUSES)[number];

export class Exclusions {
  readonly life: TokenLife;
  readonly revocations: Revocations;
  readonly bans: Bans;
  readonly abuse: Abuse;
  readonly #stores: readonly Store[];

  constructor({ cluster, abuse, life, ...parts }: ExclusionParts) {
    this.life = life;
    const revoked = cluster.store('revocations');
    const manual = cluster.store('bans');
    const automatic = cluster.store('bans-automatic');
    this.revocations = new Revocations({ ...parts, tokenLifeMs: life.tokenLifeMs, store: revoked });
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

  /** Where the address is not known. */
  ofIdentity(identity: Identity, session?: string): Exclusion | undefined {
    return this.of(identity, '', session, CAUSES_OF_IDENTITY);
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
      (session === undefined ? undefined : this.revocations.ofSession(session, identity.tenant));
    return reason === undefined
      ? undefined
      : { by: cause, code: 'unauthorized', close: 'unauthorized', reason };
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
    code: 'forbidden',
    close: 'forbidden',
    reason: reason === '' ? 'banned' : `banned: ${reason}`,
  };
}
