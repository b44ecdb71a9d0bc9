/** Whether a verified client may connect: decided before the upgrade, so that a refusal is plain HTTP. */
import type { Identity } from '../ports.ts';
import type { RefusalReason } from './reasons.ts';
import type { Tenant } from './tenant.ts';

export interface ConnectRefusal {
  readonly by: RefusalReason;
  readonly code: 'quota_exceeded' | 'duplicate_session';
  readonly reason: string;
  readonly limit?: number;
  readonly used?: number;
  readonly retryAfterMs?: number;
}

/** A place becomes free when somebody goes: nobody knows when, but asking more often than this is no use. */
const RETRY_MS = 5000;

/**
 * @param replaced connections of this session that the new one ends
 * @param elsewhere connections of the user on other nodes, where the policy makes them matter
 */
export function admitConnection(
  tenant: Tenant,
  { user }: Pick<Identity, 'user'>,
  replaced: number,
  elsewhere: number,
): ConnectRefusal | undefined {
  const { connectionsPerUser, onDuplicate } = tenant.policy;
  const { connections, elsewhere: others } = tenant.share;
  const here = tenant.users.count(user) - replaced;
  if (onDuplicate === 'reject' && here + elsewhere > 0)
    return refused('duplicate_session', 'the user is connected already', 1, here + elsewhere);
  const makesPlace = onDuplicate === 'replace' ? here : 0;
  const used = tenant.connections - replaced - makesPlace;
  if (connections > 0 && used >= connections) {
    const limit = tenant.policy.connections;
    return refused('tenant_connections', `the tenant may have ${limit} connections`, limit, used + others);
  }
  if (connectionsPerUser > 0 && here - makesPlace + elsewhere >= connectionsPerUser)
    return refused(
      'user_connections',
      `a user may have ${connectionsPerUser} connections`,
      connectionsPerUser,
      here + elsewhere,
    );
  return undefined;
}

function refused(
  by: RefusalReason & ('duplicate_session' | 'tenant_connections' | 'user_connections'),
  reason: string,
  limit: number,
  used: number,
): ConnectRefusal {
  const code = by === 'duplicate_session' ? by : 'quota_exceeded';
  return { by, code, reason, limit, used, retryAfterMs: RETRY_MS };
}
