/** What a client with a token would be answered, and why, without a connection: for people who ask "why not?". */
import type { ErrorCode } from '../../protocol/codes.ts';
import { ECHO_ROOM, isRoomName } from '../../protocol/room.ts';
import type { Gate, Stopped } from '../exclusion/gate.ts';
import type { Policies, TenantPolicy } from '../limits/policy.ts';
import type { Action, Identity, RoomGrant } from '../ports.ts';
import type { RoomPolicy } from '../settings.ts';
import { type AccessRule, explainAccess, type Unfilled } from './explain.ts';

export interface DryRunParts {
  readonly gate: Pick<Gate, 'known' | 'verify'>;
  readonly policies: Policies;
  readonly rooms: readonly RoomPolicy[];
  readonly defaultRooms: readonly RoomGrant[];
}

export interface DryRunQuestion {
  readonly token: string;
  readonly action: Action;
  /** Any text: a name that breaks clause 2.1 is explained, too. */
  readonly room: string;
}

/** What decides before access is asked about, in this order. */
export type Hurdle =
  | 'token'
  | 'revoked'
  | 'banned'
  | 'tenant_disabled'
  | 'room_name'
  | 'no_such_room'
  | 'presence_off';

export interface Explanation {
  readonly decision: 'allow' | 'deny';
  readonly rule: AccessRule | { readonly kind: Hurdle };
  /** What the client would be answered. */
  readonly code?: ErrorCode | 'tenant_disabled';
  /** A sentence for people. */
  readonly reason: string;
  readonly user?: string;
  readonly tenant?: string;
  /** Entries with a placeholder that nothing of this token can stand in for. */
  readonly unfilled?: readonly Unfilled[];
}

/** Rejects only when the verifier itself is broken. */
export async function dryRun(parts: DryRunParts, question: DryRunQuestion): Promise<Explanation> {
  const { token } = question;
  // Of no address: who explains is somewhere else than the client.
  const passage = parts.gate.known(token, {}) ?? (await parts.gate.verify(token, {}));
  const explanation = passage.ok ? judge(parts, passage.identity, question) : stoppedBy(passage);
  const { user, tenant } = passage.identity ?? {};
  return {
    ...explanation,
    ...(user !== undefined && { user }),
    ...(tenant !== undefined && { tenant }),
  };
}

function stoppedBy({ by, code, reason }: Stopped): Explanation {
  if (by === 'tenant_disabled' || by === 'revoked') return hurdle(by, code, reason);
  return hurdle(by === 'banned_identity' ? 'banned' : 'token', code, reason);
}

function hurdle(kind: Hurdle, code: NonNullable<Explanation['code']>, reason: string): Explanation {
  return { decision: 'deny', rule: { kind }, code, reason };
}

function judge(parts: DryRunParts, identity: Identity, { action, room }: DryRunQuestion): Explanation {
  const policy = parts.policies.of(identity.tenant);
  if (!isRoomName(room))
    return hurdle('room_name', 'bad_room', 'the room is not of the form [A-Za-z0-9_.:@-]{1,128}');
  const byDefault = identity.rooms === parts.defaultRooms;
  const { allowed, rule, unfilled } = explainAccess(identity, policy.rooms, byDefault, action, room);
  const decided = { rule, reason: sentence(rule, action), ...(unfilled.length > 0 && { unfilled }) };
  // A publish looks for the room first, everything else for the right to do it.
  if (!allowed && !(action === 'pub' && !exists(parts, room)))
    return { decision: 'deny', code: 'forbidden', ...decided };
  return roomHurdle(parts, policy, action, room) ?? { decision: 'allow', ...decided };
}

/** What stands in the way of who is allowed to. */
function roomHurdle(
  parts: DryRunParts,
  { presence }: TenantPolicy,
  action: Action,
  room: string,
): Explanation | undefined {
  if (action === 'presence' && presence === 'off')
    return hurdle('presence_off', 'forbidden', 'presence is switched off for this tenant');
  if (exists(parts, room)) return undefined;
  return hurdle('no_such_room', 'bad_room', 'no entry of rooms in the configuration matches this name');
}

/** The echo room is there whatever the configuration says. */
function exists({ rooms }: DryRunParts, room: string): boolean {
  return room === ECHO_ROOM || rooms.some(({ matches }) => matches(room));
}

const BUILT_IN: Readonly<Record<Exclude<AccessRule['kind'], 'entry'>, string>> = {
  echo: '@echo takes "pub" from everyone, and nothing else',
  own_inbox: 'an inbox is received by its own user, whatever the lists say',
  foreign_inbox: 'an inbox is received by its own user only, whatever the lists say',
  nothing_allows: 'nothing allows it, and what is not allowed is forbidden',
};

const LISTS = {
  claims: "the token's rooms claim",
  'auth.defaultRooms': 'auth.defaultRooms (the token has no rooms claim)',
  'policy.allow': "the tenant's policy (rooms)",
  'policy.deny': "the tenant's policy (rooms)",
} as const;

function sentence(rule: AccessRule, action: Action): string {
  if (rule.kind !== 'entry') return BUILT_IN[rule.kind];
  const verb = rule.list === 'policy.deny' ? 'denies' : 'allows';
  const filled = rule.substituted === undefined ? '' : `, here ${rule.substituted}`;
  return `entry ${rule.index} of ${LISTS[rule.list]} ${verb} "${action}" in ${rule.match}${filled}`;
}
