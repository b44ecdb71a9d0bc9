/**
 * The one place that decides whether a credential is good at this moment: for handshakes with a token or a ticket, for
 * refreshes, for calls of both APIs, and for explanations of these. What lets anybody in takes a `PassedIdentity`, which
 * nothing but the gate makes: a new door cannot forget a check.
 */
import { isReservedUser } from '../access/reserved-users.ts';
import type { Policies } from '../limits/policy.ts';
import type { RefusalReason } from '../limits/reasons.ts';
import type { Clock, Identity, Resumption, TicketVerdict, TokenVerifier, Verdict } from '../ports.ts';
import type { Exclusion, Exclusions } from './exclusions.ts';
import { judgeLife, type TokenLife } from './token-life.ts';

declare const passedTheGate: unique symbol;

/** Good when the gate looked; after a wait it has to be asked again. Has an `exp` always. */
export type PassedIdentity = Identity & { readonly exp: number; readonly [passedTheGate]: true };

export interface Passed {
  readonly ok: true;
  readonly identity: PassedIdentity;
  /** Of a ticket. */
  readonly resumes?: Resumption;
}

export interface Stopped {
  readonly ok: false;
  readonly code: 'unauthorized' | 'token_expired' | 'forbidden' | 'tenant_disabled' | 'unavailable';
  readonly reason: string;
  readonly retryAfterMs?: number;
  /** The check that stopped it; absent: the credential itself is not good. */
  readonly by?: RefusalReason;
  /** Whose credential it is, where that is known. */
  readonly identity?: Identity;
}

export type Passage = Passed | Stopped;

/** Where the credential comes from. */
export interface Origin {
  /** Absent: nobody knows, since it is only asked about. */
  readonly address?: string;
  /** The live session that shows it. */
  readonly session?: string;
}

export interface GateParts {
  readonly verifier: TokenVerifier;
  readonly openTicket: (ticket: string) => TicketVerdict;
  readonly exclusions: Pick<Exclusions, 'of' | 'ofIdentity' | 'ofAddress'>;
  readonly policies: Pick<Policies, 'of'>;
  readonly life: TokenLife;
  readonly clock: Clock;
}

export class Gate {
  readonly #parts: GateParts;

  constructor(parts: GateParts) {
    this.#parts = parts;
  }

  /** Before any credential is looked at. */
  ofAddress(address: string): Stopped | undefined {
    const excluded = this.#parts.exclusions.ofAddress(address);
    return excluded && stoppedBy(excluded);
  }

  /** In the same turn, for a token seen before; undefined: `verify` has to decide. */
  known(token: string, origin: Origin): Passage | undefined {
    const verdict = this.#parts.verifier.known(token);
    return verdict && this.#judge(verdict, origin);
  }

  /** Never rejects for a bad token; rejects only when the verifier itself is broken. */
  async verify(token: string, origin: Origin): Promise<Passage> {
    return this.#judge(await this.#parts.verifier.verify(token), origin);
  }

  ticket(ticket: string, origin: Origin): Passage {
    return this.#judge(this.#parts.openTicket(ticket), origin);
  }

  /** After a wait, in the turn in which the identity is used: something may have been revoked meanwhile. */
  again(passed: Passed, origin: Origin): Passage {
    return this.#judge(passed, origin);
  }

  #judge(verdict: Verdict | TicketVerdict, { address, session }: Origin): Passage {
    if (!verdict.ok) return verdict;
    const { identity } = verdict;
    const resumes = 'resumes' in verdict ? verdict.resumes : undefined;
    if (isReservedUser(identity.user))
      return stopped('unauthorized', `sub is a reserved name (${identity.user})`, 'reserved_user', identity);
    const { exclusions, life, clock, policies } = this.#parts;
    const lived = judgeLife(identity, life, clock.now());
    if (!lived.ok) return stopped(lived.code, lived.reason, 'token_life', identity);
    const id = resumes?.session ?? session;
    const excluded =
      address === undefined ? exclusions.ofIdentity(identity, id) : exclusions.of(identity, address, id);
    if (excluded !== undefined) return { ...stoppedBy(excluded), identity };
    if (!policies.of(identity.tenant).enabled)
      return stopped('tenant_disabled', 'the tenant is disabled', 'tenant_disabled', identity);
    return { ok: true, identity: passed(identity, lived.exp), ...(resumes !== undefined && { resumes }) };
  }
}

/** The same object wherever it can be: the sessions of a token share its parts. */
function passed(identity: Identity, exp: number): PassedIdentity {
  return (identity.exp === exp ? identity : Object.freeze({ ...identity, exp })) as PassedIdentity;
}

function stopped(code: Stopped['code'], reason: string, by: RefusalReason, identity: Identity): Stopped {
  return { ok: false, code, reason, by, identity };
}

function stoppedBy({ code, reason, by }: Exclusion): Stopped {
  return { ok: false, code, reason, by };
}
