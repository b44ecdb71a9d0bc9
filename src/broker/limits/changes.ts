import type { Defer } from '../ports.ts';
import type { Tenant } from './tenant.ts';

/** Sessions that fit themselves into a new policy in one turn of the loop: each may leave rooms, or end. */
const PER_TURN = 200;

/** Has every session of the tenant look at its policy again, a few per turn. */
export function reconsider(tenant: Tenant, defer: Defer): void {
  const members = [...tenant.users.all()];
  let at = 0;
  const turn = () => {
    for (const end = at + PER_TURN; at < members.length && at < end; at++) members[at]?.policyChanged();
    if (at < members.length) defer(turn);
  };
  turn();
}
