/** Subjects of NATS for rooms of Carillon, and which stream a room belongs to. */
import { createHash } from 'node:crypto';
import { fnv1a32 } from '../../broker/hash.ts';

/** Left alone by `encodeURIComponent`, but with a meaning in subjects, or easily taken for one. */
const SPECIAL = /[.!~*'()]/g;
const PLAIN = /^[A-Za-z0-9_@:-]+$/;
const LONE_SURROGATE = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

/**
 * The server ends a connection over a control line of more than 4,096 bytes: one name too long would be an outage
 * of the node. Reply subject, sizes and the API subjects around ours need their share.
 */
export const SUBJECT_MAX = 1024;

/**
 * Any text as one token of a subject: percent-encoded, readable in `nats sub`, reversible. Lone surrogates, which
 * JSON can carry and `encodeURIComponent` refuses, become `%uXXXX`; the empty text `%`. Neither comes out otherwise.
 */
export function encodeToken(text: string): string {
  if (PLAIN.test(text)) return text.replaceAll(':', '%3A').replaceAll('@', '%40');
  if (text === '') return '%';
  let token = '';
  let from = 0;
  for (const match of text.matchAll(LONE_SURROGATE)) {
    token += `${encodePart(text.slice(from, match.index))}%u${match[0].charCodeAt(0).toString(16).toUpperCase()}`;
    from = match.index + 1;
  }
  return token + encodePart(text.slice(from));
}

function encodePart(text: string): string {
  return encodeURIComponent(text).replace(
    SPECIAL,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** The inverse of `encodeToken`. */
export function decodeToken(token: string): string {
  if (token === '%') return '';
  return token
    .split(/(%u[0-9A-F]{4})/)
    .map((part, at) =>
      at % 2 === 1 ? String.fromCharCode(Number.parseInt(part.slice(2), 16)) : decodeURIComponent(part),
    )
    .join('');
}

/** Some 4 MB of names at the most; the busy rooms are back at once after it was emptied. */
const KNOWN_MAX = 10_000;

export interface CursorSubject {
  /** Of the room's events, whose epoch the cursor belongs to. */
  readonly shard: number;
  readonly subject: string;
}

export interface RoomSubjects {
  readonly shard: number;
  /** Captured by the stream. Nobody subscribes to it: an election would then answer publishes with silence. */
  readonly log: string;
  /** What the stream republishes to, and where ephemeral events and live rooms are published. */
  readonly live: string;
}

/** The names of one installation. */
export class Subjects {
  readonly prefix: string;
  readonly shards: number;
  /** Encoding takes 1 us, which is a fifth of a publish. */
  readonly #known = new Map<string, RoomSubjects | undefined>();

  constructor(prefix: string, shards: number) {
    this.prefix = prefix;
    this.shards = shards;
  }

  /** undefined: the names are too long for a subject. */
  room(tenant: string, name: string): RoomSubjects | undefined {
    const key = `${tenant}\0${name}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const made = this.#make(key, tenant, name);
    if (this.#known.size >= KNOWN_MAX) this.#known.clear();
    this.#known.set(key, made);
    return made;
  }

  #make(key: string, tenant: string, name: string): RoomSubjects | undefined {
    const shard = fnv1a32(key) % this.shards;
    const tokens = `${shard}.${encodeToken(tenant)}.${encodeToken(name)}`;
    const live = `${this.prefix}.live.${tokens}`;
    return live.length > SUBJECT_MAX ? undefined : { shard, log: `${this.prefix}.log.${tokens}`, live };
  }

  /** Of what one user has seen of a room. A user with too long a name goes by a digest, which no name encodes to. */
  cursor(tenant: string, name: string, user: string): CursorSubject {
    const shard = fnv1a32(`${tenant}\0${name}`) % this.shards;
    const room = `${this.prefix}.cur.${encodeToken(tenant)}.${encodeToken(name)}.`;
    const subject = room + encodeToken(user);
    if (subject.length <= SUBJECT_MAX) return { shard, subject };
    return { shard, subject: `${room}%sha256-${createHash('sha256').update(user).digest('base64url')}` };
  }

  get cursors(): string {
    return `${this.prefix}.cur.>`;
  }

  get cursorStream(): string {
    return `${this.prefix.toUpperCase()}_CURSORS`;
  }

  stream(shard: number): string {
    return `${this.prefix.toUpperCase()}_${shard}`;
  }

  /** Everything that the stream of a shard captures. */
  logs(shard: number): string {
    return `${this.prefix}.log.${shard}.>`;
  }

  lives(shard: number): string {
    return `${this.prefix}.live.${shard}.>`;
  }

  /** Below a shard, but of no room: those have a tenant and a name. */
  mark(shard: number): string {
    return `${this.prefix}.log.${shard}.mark`;
  }

  probe(shard: number): string {
    return `${this.prefix}.log.${shard}.probe`;
  }

  /** Marks of all shards, as their streams republish them. */
  get marks(): string {
    return `${this.prefix}.live.*.mark`;
  }

  /** Where nodes tell what they have met of the streams. */
  get witnesses(): string {
    return `${this.prefix}.ctl.met`;
  }

  /** The shard of a subject that `marks` has matched. */
  markedShard(subject: string): number {
    return Number.parseInt(subject.slice(this.prefix.length + '.live.'.length), 10);
  }

  /** Where answers to a node go. Two tokens, so that one permission fits all nodes of the installation. */
  inbox(node: string): string {
    return `_INBOX_${this.prefix}.${encodeToken(node)}`;
  }
}
