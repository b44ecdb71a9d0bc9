/** Questions for cursors, many in one: those of a turn, then those that came while the ones before were answered. */
import type { NoAnswer } from './acks.ts';
import { type CursorStore, NO_CURSOR, type StoredCursor } from './cursor-store.ts';
import type { Env } from './env.ts';

export type CursorRead = (answer: StoredCursor | NoAnswer) => void;

/** The server takes 1,024 subjects in one request, and no request over its max_payload. */
const BATCH = 500;
const BATCH_BYTES = 48 * 1024;
const ATTEMPTS = 3;
const PAUSE_MS = 250;

export class CursorReads {
  readonly store: CursorStore;
  readonly #env: Pick<Env, 'timers' | 'sleep' | 'log'>;
  readonly #waiting = new Map<string, CursorRead[]>();
  #running = false;
  /** Cursors asked for, and requests that it took. */
  reads = 0;
  requests = 0;

  constructor(store: CursorStore, env: Pick<Env, 'timers' | 'sleep' | 'log'>) {
    this.store = store;
    this.#env = env;
  }

  /** `done` runs exactly once, never before this returns. */
  read(subject: string, done: CursorRead): void {
    this.reads++;
    const others = this.#waiting.get(subject);
    if (others === undefined) this.#waiting.set(subject, [done]);
    else others.push(done);
    if (this.#running) return;
    this.#running = true;
    this.#env.timers.soon(() => void this.#run());
  }

  async #run(): Promise<void> {
    while (this.#waiting.size > 0) {
      const batch = this.#take();
      const answer = await this.#answer([...batch.keys()]);
      for (const [subject, readers] of batch)
        for (const done of readers)
          done(typeof answer === 'string' ? answer : (answer.get(subject) ?? NO_CURSOR));
    }
    this.#running = false;
  }

  #take(): Map<string, CursorRead[]> {
    const batch = new Map<string, CursorRead[]>();
    let bytes = 0;
    for (const [subject, readers] of this.#waiting) {
      bytes += subject.length + 3;
      if (batch.size === BATCH || (bytes > BATCH_BYTES && batch.size > 0)) break;
      batch.set(subject, readers);
      this.#waiting.delete(subject);
    }
    return batch;
  }

  async #answer(subjects: readonly string[]): Promise<ReadonlyMap<string, StoredCursor> | NoAnswer> {
    for (let attempt = 1; ; attempt++) {
      this.requests++;
      const answer = await this.store.read(subjects).catch((error: unknown) => {
        this.#env.log.error({ err: error }, 'reading cursors has failed');
        return 'lost' as const;
      });
      if (typeof answer !== 'string' || answer === 'lost' || attempt === ATTEMPTS) return answer;
      await this.#env.sleep(PAUSE_MS);
    }
  }
}
