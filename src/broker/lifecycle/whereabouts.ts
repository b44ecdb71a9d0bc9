import type { Cancel, Cluster } from '../cluster.ts';
import { type Parting, roomOf } from './event.ts';

const TOPIC = 'lifecycle.where';
/** Rooms in one question: their names are 128 characters at most, and a session has at most 1,000 by default. */
const ROOMS_AT_ONCE = 1000;
const PATIENCE_MS = 2000;

/** Session, generation, rooms. */
type Question = readonly (readonly [string, number, readonly string[]])[];
/** Place in the question of a session that has gone on, and of those of its rooms that it is in. */
type Answer = readonly (readonly [number, readonly number[]])[];

/** Of a session that this node has, or that has just ended here. */
export interface Known {
  readonly generation: number;
  readonly rooms: ReadonlySet<string>;
}

export interface Verdict {
  readonly parting: Parting;
  /** The session has a newer connection. */
  readonly wentOn: boolean;
  /** Those that it is not in any more. */
  readonly left: readonly string[];
}

/** Whether sessions that have lost their connection go on anywhere. */
export class Whereabouts {
  readonly #cluster: Cluster;
  readonly #known: (session: string) => Known | undefined;
  readonly #answering: Cancel;

  constructor(cluster: Cluster, known: (session: string) => Known | undefined) {
    this.#cluster = cluster;
    this.#known = known;
    this.#answering = cluster.answer(TOPIC, (question): Answer => this.#answer(question as Question));
  }

  close(): void {
    this.#answering();
  }

  /** `whole` is false where some node has not answered: what it knows is missing. */
  async of(partings: readonly Parting[]): Promise<{ verdicts: readonly Verdict[]; whole: boolean }> {
    const verdicts: Verdict[] = [];
    let whole = true;
    for (const part of portions(partings)) {
      const question: Question = part.map(({ session, generation, places }) => [
        session,
        generation,
        places.map(roomOf),
      ]);
      const { answers, missing } = await this.#cluster.ask(TOPIC, question, PATIENCE_MS);
      whole &&= missing.length === 0;
      verdicts.push(...judge(part, [...answers.values()] as Answer[]));
    }
    return { verdicts, whole };
  }

  #answer(question: Question): Answer {
    const found: (readonly [number, readonly number[]])[] = [];
    for (const [at, [session, generation, rooms]] of question.entries()) {
      const known = this.#known(session);
      if (known === undefined || known.generation <= generation) continue;
      found.push([at, rooms.flatMap((room, index) => (known.rooms.has(room) ? [index] : []))]);
    }
    return found;
  }
}

function judge(partings: readonly Parting[], answers: readonly Answer[]): Verdict[] {
  const stays = new Map<number, Set<number>>();
  for (const [at, rooms] of answers.flat()) {
    const known = stays.get(at) ?? new Set();
    for (const room of rooms) known.add(room);
    stays.set(at, known);
  }
  return partings.map((parting, at) => {
    const in_ = stays.get(at);
    return {
      parting,
      wentOn: in_ !== undefined,
      left: parting.places.filter((_, index) => in_?.has(index) !== true),
    };
  });
}

function* portions(partings: readonly Parting[]): Generator<Parting[]> {
  let part: Parting[] = [];
  let rooms = 0;
  for (const parting of partings) {
    if (part.length > 0 && rooms + parting.places.length + 1 > ROOMS_AT_ONCE) {
      yield part;
      part = [];
      rooms = 0;
    }
    part.push(parting);
    rooms += parting.places.length + 1;
  }
  if (part.length > 0) yield part;
}
