import { type Caller, type Reply, refused } from '../http/route.ts';

/** The tenant that a call is about: the caller's own, or the one it names if it is bound to none. */
export function tenantOf(
  caller: Caller,
  named: string | undefined,
): { readonly tenant: string } | Extract<Reply, { refused: unknown }> {
  const tenant = caller.kind === 'token' ? caller.tenant : named;
  if (tenant === undefined)
    return refuse(400, 'bad_request', 'the admin token is bound to no tenant: name one in `tenant`');
  if (named !== undefined && named !== tenant)
    return refuse(403, 'forbidden', 'the token is bound to another tenant');
  return { tenant };
}

function refuse(status: number, code: string, reason: string): Extract<Reply, { refused: unknown }> {
  return refused(status, code, reason) as Extract<Reply, { refused: unknown }>;
}
