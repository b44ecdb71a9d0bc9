/** Whether two lists of room patterns call the same room durable and live. */
import { compilePattern } from '../protocol/room.ts';

export interface RoomKind {
  readonly match: string;
  readonly durable: boolean;
}

/** Names looked at; where there would be more, lists that are not the same count as mixing. */
const NAMES_MAX = 20_000;
/** Stands for every segment that no pattern names. */
const OTHER = 'other-0';

/**
 * Patterns see nothing of a name but its number of segments, and which segments are those that they name: it is enough
 * to look at one name of each kind.
 */
export function mixesRooms(one: readonly RoomKind[], other: readonly RoomKind[]): boolean {
  if (JSON.stringify(one) === JSON.stringify(other)) return false;
  const patterns = [...one, ...other].map(({ match }) => match.split(':'));
  const most = Math.max(0, ...patterns.map(({ length }) => length)) + 1;
  const words = Array.from({ length: most }, (_, at) => {
    const named = patterns.map((segments) => segments[at]).filter((word) => word && !word.includes('*'));
    return [...new Set([...named, OTHER])] as string[];
  });
  const kinds = [kindOf(one), kindOf(other)] as const;
  let left = NAMES_MAX;
  for (const segments of patterns)
    for (const name of namesOf(segments, words)) {
      if (left-- === 0) return true;
      const [here, there] = [kinds[0](name), kinds[1](name)];
      if (here !== undefined && there !== undefined && here !== there) return true;
    }
  return false;
}

function kindOf(rooms: readonly RoomKind[]): (name: string) => boolean | undefined {
  const compiled = rooms.map(({ match, durable }) => ({ matches: compilePattern(match), durable }));
  return (name) => compiled.find(({ matches }) => matches(name))?.durable;
}

/** Every name of the pattern, with one word for all that nobody names. */
function* namesOf(
  [segment, ...rest]: readonly string[],
  words: readonly (readonly string[])[],
  at = 0,
  before: readonly string[] = [],
): Generator<string> {
  if (segment === undefined) return yield before.join(':');
  const choices = segment.includes('*') ? (words[at] ?? []) : [segment];
  for (const word of choices) {
    const name = [...before, word];
    yield* namesOf(rest, words, at + 1, name);
    if (segment === '**' && at + 1 < words.length) yield* namesOf(['**'], words, at + 1, name);
  }
}
