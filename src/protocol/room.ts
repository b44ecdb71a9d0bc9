/** Room names and the patterns that match them (docs/protocol.md, section 2). */

export const ROOM_NAME_MAX = 128;

export const ROOM_NAME = /^[A-Za-z0-9_.:@-]{1,128}$/;
const PATTERN = /^[A-Za-z0-9_.:@*-]{1,128}$/;

/** The room that answers a probe: what is published there comes back to its publisher only. */
export const ECHO_ROOM = '@echo';

export function isRoomName(name: unknown): name is string {
  return typeof name === 'string' && ROOM_NAME.test(name);
}

/** The inbox of a user; undefined where the user id cannot stand in a room name. */
export function inboxOf(user: string): string | undefined {
  const room = `@${user}`;
  return ROOM_NAME.test(room) && room !== ECHO_ROOM ? room : undefined;
}

/** `@user` rooms: joined by that user alone, whatever the claims say. */
export function isInbox(room: string): boolean {
  return room.charCodeAt(0) === 64 && room !== ECHO_ROOM;
}

/**
 * A pattern is a room name whose segments, split by `:`, may be `*` (exactly one segment) or, as the
 * last one, `**` (one or more segments). A segment may be empty, in names as in patterns: `a:` has two.
 */
export function isRoomPattern(pattern: unknown): pattern is string {
  if (typeof pattern !== 'string' || !PATTERN.test(pattern)) return false;
  const segments = pattern.split(':');
  return segments.every((segment, at) => {
    if (!segment.includes('*')) return true;
    return segment === '*' || (segment === '**' && at === segments.length - 1);
  });
}

export type RoomMatcher = (room: string) => boolean;

/** Compiles a pattern once. A match looks at each character of the name once at most, whatever the pattern. */
export function compilePattern(pattern: string): RoomMatcher {
  if (pattern === '**') return () => true;
  const star = pattern.indexOf('*');
  if (star < 0) return (room) => room === pattern;
  // The only star is the `**` at the end, which `a:*:` has none of.
  if (star === pattern.length - 2 && pattern.endsWith('**')) return startsWith(pattern.slice(0, star));
  return bySegments(pattern.split(':'));
}

function startsWith(prefix: string): RoomMatcher {
  return (room) => room.startsWith(prefix);
}

function bySegments(segments: readonly string[]): RoomMatcher {
  return (room) => {
    let from = 0;
    for (const segment of segments) {
      if (from > room.length) return false;
      if (segment === '**') return true;
      const to = endOfSegment(room, from);
      if (segment !== '*' && !(to - from === segment.length && room.startsWith(segment, from))) return false;
      from = to + 1;
    }
    return from > room.length;
  };
}

function endOfSegment(room: string, from: number): number {
  const colon = room.indexOf(':', from);
  return colon < 0 ? room.length : colon;
}
