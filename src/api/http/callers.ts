/** Who a request comes from: the admin token, or a JWT with the scope. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { TokenVerifier, Verdict } from '../../broker/ports.ts';
import type { Caller, Refused, Scope } from './route.ts';

export type Admission = { readonly caller: Caller } | { readonly refused: Refused };

export class Callers {
  readonly #verifier: TokenVerifier;
  readonly #adminToken: Uint8Array | undefined;
  #checking = false;

  constructor(verifier: TokenVerifier, adminToken: string | undefined) {
    this.#verifier = verifier;
    this.#adminToken = adminToken === undefined ? undefined : digest(adminToken);
  }

  /** @param suspect has sent too many credentials that were refused. */
  async admit(authorization: string, scope: Scope, suspect: boolean): Promise<Admission> {
    const token = /^bearer +(\S+) *$/i.exec(authorization)?.[1];
    if (token === undefined) return unauthorized('a bearer token is needed in the Authorization header');
    // Digests: of equal length, whatever was sent.
    if (this.#adminToken !== undefined && timingSafeEqual(digest(token), this.#adminToken))
      return { caller: { name: 'admin token' } };
    const verdict = this.#verifier.known(token) ?? (await this.#verified(token, suspect));
    if (verdict === undefined) return unauthorized('other credentials of this address are being checked');
    if (!verdict.ok) return { refused: { status: 401, code: verdict.code, reason: verdict.reason } };
    const { identity } = verdict;
    const scopes = identity.scope?.split(' ') ?? [];
    if (!scopes.includes(scope))
      return {
        refused: { status: 403, code: 'forbidden', reason: `the token does not have the scope "${scope}"` },
      };
    const name = identity.user;
    return { caller: scope === 'admin' ? { name } : { name, tenant: identity.tenant } };
  }

  /**
   * A signature check costs more than anything else here. Those of suspects are made one at a time, so that a flood of
   * forged tokens has a share of the node and no more, and a good one behind the same proxy still comes through.
   */
  async #verified(token: string, suspect: boolean): Promise<Verdict | undefined> {
    if (!suspect) return this.#verifier.verify(token);
    if (this.#checking) return undefined;
    this.#checking = true;
    try {
      return await this.#verifier.verify(token);
    } finally {
      this.#checking = false;
    }
  }
}

function unauthorized(reason: string): Admission {
  return { refused: { status: 401, code: 'unauthorized', reason } };
}

function digest(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}
