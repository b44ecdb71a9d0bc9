import { readGrant } from '../auth/claims.ts';
import { ACTIONS, type RoomGrant } from '../broker/ports.ts';

export type RoomsResult =
  | { readonly ok: true; readonly rooms: readonly RoomGrant[] }
  | { readonly ok: false; readonly reason: string };

/** `chat:**=join,pub;news:*=join`; a pattern alone allows everything; or the claim itself as JSON. */
export function parseRooms(text: string): RoomsResult {
  const entries = text.trimStart().startsWith('[')
    ? fromJson(text)
    : text.split(';').filter(Boolean).map(fromText);
  if (entries === undefined) return { ok: false, reason: 'is not well-formed JSON' };
  const rooms: RoomGrant[] = [];
  for (const [at, entry] of entries.entries()) {
    const grant = readGrant(entry);
    if (typeof grant === 'string') return { ok: false, reason: `entry ${at + 1} ${grant}` };
    rooms.push(grant);
  }
  return { ok: true, rooms };
}

function fromText(entry: string): unknown {
  const [match = '', actions, ...rest] = entry.split('=').map((part) => part.trim());
  if (rest.length > 0) return undefined;
  return {
    match,
    allow: actions === undefined ? ACTIONS : actions.split(',').map((action) => action.trim()),
  };
}

function fromJson(text: string): readonly unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
