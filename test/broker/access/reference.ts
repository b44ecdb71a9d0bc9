/** The rules of access as docs/protocol.md tells them, segment by segment, sharing nothing with what is tested. */
import fc from 'fast-check';
import type { RoomRule } from '../../../src/broker/limits/policy.ts';
import { ACTIONS, type Action, type Identity } from '../../../src/broker/ports.ts';

export function reference(who: Identity, rules: readonly RoomRule[], action: Action, room: string): boolean {
  if (room === '@echo') return action === 'pub';
  const matching = (match: string): boolean => matches(match, who, room);
  if (rules.some(({ match, deny }) => deny.includes(action) && matching(match))) return false;
  const listed = [...who.rooms, ...rules].some(
    ({ match, allow }) => allow.includes(action) && matching(match),
  );
  if (!room.startsWith('@') || action === 'pub') return listed;
  return room === `@${who.user}`;
}

export function matches(match: string, who: Identity, room: string): boolean {
  const filled = fill(match, who);
  return filled !== undefined && fits(filled.split(':'), room.split(':'));
}

function fill(match: string, who: Identity): string | undefined {
  const values: Record<string, unknown> = {
    '${sub}': who.user,
    '${tenant}': who.tenant,
    '${info.team}': who.info?.['team'],
  };
  let text = match;
  for (const [placeholder, value] of Object.entries(values)) {
    if (!text.includes(placeholder)) continue;
    const legal = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@-'];
    const written = typeof value === 'number' && Number.isInteger(value) ? `${value}` : value;
    if (typeof written !== 'string' || written.length < 1 || written.length > 128) return undefined;
    if (written[0] === '@' || [...written].some((each) => !legal.includes(each))) return undefined;
    text = text.split(placeholder).join(written);
  }
  return text;
}

function fits(pattern: readonly string[], room: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === '**') return room.length > 0;
  if (first === undefined || room[0] === undefined) return first === undefined && room[0] === undefined;
  return (first === '*' || first === room[0]) && fits(rest, room.slice(1));
}

const segment = fc.constantFrom(
  'a',
  'b',
  'A',
  'a.b',
  'axb',
  '@alice',
  '@bob',
  '@echo',
  '@',
  '',
  'alice',
  '7',
);
export const room = fc
  .array(segment, { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join(':'))
  .filter((name) => name !== '');

const placeholder = fc.constantFrom('${sub}', '${tenant}', '${info.team}', '@${sub}', 'a${info.team}');
const pattern = fc
  .tuple(
    fc.array(fc.oneof(segment, fc.constant('*'), placeholder), { maxLength: 3 }),
    fc.oneof(fc.constantFrom('**', '*', 'a', 'b', 'a.b', '@bob'), placeholder),
  )
  .map(([parts, last]) => [...parts, last].join(':'));

const actions = fc.subarray([...ACTIONS]);
export const grant = fc.record({ match: pattern, allow: actions });
export const rules = fc.array(fc.record({ match: pattern, allow: actions, deny: actions }), { maxLength: 4 });

/** Names and claims, among them those that an attacker would choose. */
const user = fc.constantFrom('alice', 'bob', 'echo', 'a', 'a b', 'alice:a', '*', '**', '@bob', '', 'a:**');
const team = fc.constantFrom<unknown>(
  'a',
  'b',
  '',
  '*',
  'a:b',
  7,
  -1,
  1.5,
  null,
  undefined,
  ['a'],
  {},
  '@',
  '.',
);
export const who: fc.Arbitrary<Identity> = fc
  .record({
    user,
    tenant: fc.constantFrom('a', 'b.c', 'default'),
    team,
    rooms: fc.array(grant, { maxLength: 6 }),
  })
  .map(({ team, ...rest }) => ({ ...rest, info: { team } }));
