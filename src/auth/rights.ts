/** What an issuer of credentials may vouch for: the bounds of every token that it signs, whatever that says. */
import type { Identity, Scope } from '../broker/ports.ts';
import { type Denial, denial } from './reasons.ts';

export interface IssuerRights {
  /** The tenants that its tokens may name, and act in, in every scope; absent: any. */
  readonly tenants?: readonly string[];
  /** What its tokens may be used for beside connecting; absent: nothing. */
  readonly scopes?: readonly Scope[];
}

/** The identity within its issuer's rights. A scope that it may not grant is withheld: as a client's the token is good. */
export function within(identity: Identity, { tenants, scopes = [] }: IssuerRights): Identity | Denial {
  if (tenants !== undefined && !tenants.includes(identity.tenant))
    return denial('tenant', 'the issuer of the token may not name this tenant');
  const { scopes: asked = [], ...rest } = identity;
  const granted = asked.filter((scope) => scopes.includes(scope));
  const withheld = asked.filter((scope) => !scopes.includes(scope));
  return {
    ...rest,
    ...(granted.length > 0 && { scopes: granted }),
    ...(withheld.length > 0 && { withheld }),
    ...(granted.length > 0 && tenants !== undefined && { tenants }),
  };
}
