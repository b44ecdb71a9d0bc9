/** Who a request comes from: the admin token, or a JWT with the scope. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { ADMIN_TOKEN_CALLER } from '../../broker/access/reserved-users.ts';
import type { Gate, Passage, PassedIdentity, Stopped } from '../../broker/exclusion/gate.ts';
import type { Caller, Refused, Scope } from './route.ts';

/** `still`: why the caller may not go on after a wait, such as one for the body of the request. */
export type Admission =
  | { readonly caller: Caller; readonly still: () => Refused | undefined }
  | { readonly refused: Refused };

export interface Request {
  readonly authorization: string;
  readonly address: string;
  /** The address has sent too many credentials that were refused. */
  readonly suspect: boolean;
}

const OPERATOR: Caller = { kind: 'admin_token', name: ADMIN_TOKEN_CALLER };

export class Callers {
  readonly #gate: Pick<Gate, 'ofAddress' | 'known' | 'verify' | 'again'>;
  readonly #adminToken: Uint8Array | undefined;
  #checking = false;

  constructor(gate: Pick<Gate, 'ofAddress' | 'known' | 'verify' | 'again'>, adminToken: string | undefined) {
    this.#gate = gate;
    this.#adminToken = adminToken === undefined ? undefined : digest(adminToken);
  }

  async admit(request: Request, scope: Scope): Promise<Admission> {
    const token = /^bearer +(\S+) *$/i.exec(request.authorization)?.[1];
    const operator = token !== undefined && this.#isAdminToken(token);
    // A ban of an address must not shut out the operator who would lift it.
    if (operator && scope === 'admin') return { caller: OPERATOR, still: () => undefined };
    const kept = () => this.#gate.ofAddress(request.address);
    const banned = kept();
    if (banned !== undefined) return { refused: refusedBy(banned) };
    if (operator) return { caller: OPERATOR, still: () => refusedIf(kept()) };
    return token === undefined
      ? unauthorized('a bearer token is needed in the Authorization header')
      : this.#admitToken(token, request, scope);
  }

  async #admitToken(token: string, request: Request, scope: Scope): Promise<Admission> {
    const passage = this.#gate.known(token, request) ?? (await this.#verified(token, request));
    if (passage === undefined) return unauthorized('other credentials of this address are being checked');
    if (!passage.ok) return { refused: refusedBy(passage) };
    const caller = callerOf(passage.identity, scope);
    if ('refused' in caller) return caller;
    return { caller, still: () => refusedIf(this.#gate.again(passage, request)) };
  }

  #isAdminToken(token: string): boolean {
    // Digests: of equal length, whatever was sent.
    return this.#adminToken !== undefined && timingSafeEqual(digest(token), this.#adminToken);
  }

  /**
   * A signature check costs more than anything else here. Those of suspects are made one at a time, so that a flood of
   * forged tokens has a share of the node and no more, and a good one behind the same proxy still comes through.
   */
  async #verified(token: string, request: Request): Promise<Passage | undefined> {
    if (!request.suspect) return this.#gate.verify(token, request);
    if (this.#checking) return undefined;
    this.#checking = true;
    try {
      return await this.#gate.verify(token, request);
    } finally {
      this.#checking = false;
    }
  }
}

function callerOf(identity: PassedIdentity, scope: Scope): Caller | { readonly refused: Refused } {
  const { user: name, tenant, tenants, scopes = [], withheld = [] } = identity;
  if (!scopes.includes(scope))
    return forbidden(
      withheld.includes(scope)
        ? `the issuer of the token may not grant the scope "${scope}" (auth.issuers[].scopes)`
        : `the token does not have the scope "${scope}"`,
    );
  const caller: Caller = { kind: 'token', name, tenant };
  return scope === 'admin' && tenants !== undefined ? { ...caller, tenants } : caller;
}

const STATUS: Readonly<Record<Stopped['code'], number>> = {
  unauthorized: 401,
  token_expired: 401,
  forbidden: 403,
  tenant_disabled: 403,
  unavailable: 503,
};

function refusedBy({ code, reason, retryAfterMs = 1000 }: Stopped): Refused {
  return { status: STATUS[code], code, reason, ...(code === 'unavailable' && { retryAfterMs }) };
}

function refusedIf(passage: Passage | undefined): Refused | undefined {
  return passage === undefined || passage.ok ? undefined : refusedBy(passage);
}

function unauthorized(reason: string): { readonly refused: Refused } {
  return { refused: { status: 401, code: 'unauthorized', reason } };
}

function forbidden(reason: string): { readonly refused: Refused } {
  return { refused: { status: 403, code: 'forbidden', reason } };
}

function digest(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}
