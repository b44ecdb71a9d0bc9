/** Who a request comes from: the admin token, or a JWT with the scope. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { TokenVerifier } from '../../broker/ports.ts';
import type { Caller, Refused, Scope } from './route.ts';

export type Admission = { readonly caller: Caller } | { readonly refused: Refused };

export class Callers {
  readonly #verifier: TokenVerifier;
  readonly #adminToken: Uint8Array | undefined;

  constructor(verifier: TokenVerifier, adminToken: string | undefined) {
    this.#verifier = verifier;
    this.#adminToken = adminToken === undefined ? undefined : digest(adminToken);
  }

  async admit(authorization: string, scope: Scope): Promise<Admission> {
    const token = /^bearer +(\S+) *$/i.exec(authorization)?.[1];
    if (token === undefined) return unauthorized('a bearer token is needed in the Authorization header');
    // Digests: of equal length, whatever was sent.
    if (this.#adminToken !== undefined && timingSafeEqual(digest(token), this.#adminToken))
      return { caller: { name: 'admin token' } };
    const verdict = this.#verifier.known(token) ?? (await this.#verifier.verify(token));
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
}

function unauthorized(reason: string): Admission {
  return { refused: { status: 401, code: 'unauthorized', reason } };
}

function digest(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}
