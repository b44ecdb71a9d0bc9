/**
 * The usage of a single node in files: of each day one, to which records of minutes that are over are appended, and
 * one with the present minute, written anew each time. What a crash leaves of the latter is taken over at the start.
 */
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Clock, Log } from '../../broker/ports.ts';
import {
  type EachRecord,
  isWanted,
  readRecord,
  STEPS,
  type UsageQuery,
  type UsageRecord,
  type UsageStore,
} from '../../broker/usage.ts';

const PRESENT = 'present.json';
const DAY_FILE = /^(\d{4}-\d\d-\d\d)\.jsonl$/;

export interface FileUsageParts {
  /** `state.dir`. */
  readonly dir: string;
  /** Days older than this are removed. */
  readonly ageMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

export class FileUsage implements UsageStore {
  readonly #parts: FileUsageParts;
  readonly #dir: string;
  #present: readonly UsageRecord[] = [];
  #prunedOn = '';

  constructor(parts: FileUsageParts) {
    this.#parts = parts;
    this.#dir = join(parts.dir, 'usage');
  }

  async start(): Promise<void> {
    try {
      await mkdir(this.#dir, { recursive: true });
      await this.#append(await this.#left());
      await this.#writePresent([]);
      await this.#prune();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`usage cannot be kept in ${this.#dir} (state.dir): ${reason}`, { cause: error });
    }
  }

  async keep(records: readonly UsageRecord[]): Promise<boolean> {
    return this.#tried(async () => {
      await this.#append(records);
      await this.#prune();
    });
  }

  async journal(records: readonly UsageRecord[]): Promise<boolean> {
    return this.#tried(async () => {
      if (records.length + this.#present.length > 0) await this.#writePresent(records);
      this.#present = records;
    });
  }

  async read(query: UsageQuery, each: EachRecord): Promise<boolean> {
    for (const record of this.#present) if (isWanted(query, record) && !each(record)) return true;
    return this.#tried(async () => {
      for (const day of await this.#days())
        if (
          day >= dayOf(query.from) &&
          day <= dayOf(query.to - 1) &&
          !(await this.#readDay(day, query, each))
        )
          return;
    });
  }

  async close(): Promise<void> {}

  async #tried(task: () => Promise<void>): Promise<boolean> {
    try {
      await task();
      return true;
    } catch (error) {
      this.#parts.log.error({ err: error, dir: this.#dir }, 'usage cannot be kept or read');
      return false;
    }
  }

  async #append(records: readonly UsageRecord[]): Promise<void> {
    const byDay = new Map<string, string>();
    for (const record of records) {
      const day = dayOf(record.minute);
      byDay.set(day, `${byDay.get(day) ?? ''}${JSON.stringify(record)}\n`);
    }
    for (const [day, lines] of byDay) {
      const file = await open(this.#path(day), 'a', 0o600);
      try {
        // A crash may have left half a line behind: it must not take the next one with it.
        await file.appendFile(`\n${lines}`);
        await file.datasync();
      } finally {
        await file.close();
      }
    }
  }

  /** What the run before had of its last minute. */
  async #left(): Promise<UsageRecord[]> {
    const text = await readFile(join(this.#dir, PRESENT), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '[]';
      throw error;
    });
    const found = parsed(text);
    if (!Array.isArray(found))
      this.#parts.log.warn({ dir: this.#dir }, `${PRESENT} is damaged: its minute is lost`);
    return Array.isArray(found) ? found.flatMap((value) => readRecord(value) ?? []) : [];
  }

  async #writePresent(records: readonly UsageRecord[]): Promise<void> {
    const fresh = join(this.#dir, `${PRESENT}.new`);
    const file = await open(fresh, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(records));
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(fresh, join(this.#dir, PRESENT));
  }

  /** false: no more is wanted. */
  async #readDay(day: string, query: UsageQuery, each: EachRecord): Promise<boolean> {
    const lines = createInterface({
      input: createReadStream(this.#path(day)),
      crlfDelay: Number.POSITIVE_INFINITY,
    });
    let damaged = 0;
    try {
      for await (const line of lines) {
        if (line === '') continue;
        const record = readRecord(parsed(line));
        if (record === undefined) damaged++;
        else if (isWanted(query, record) && !each(record)) return false;
      }
    } finally {
      lines.close();
    }
    if (damaged > 0) this.#parts.log.warn({ day, lines: damaged }, 'lines of the usage are damaged');
    return true;
  }

  async #days(): Promise<string[]> {
    const names = await readdir(this.#dir);
    return names.flatMap((name) => DAY_FILE.exec(name)?.[1] ?? []);
  }

  async #prune(): Promise<void> {
    const { clock, ageMs } = this.#parts;
    const today = dayOf(clock.now());
    if (today === this.#prunedOn) return;
    this.#prunedOn = today;
    const oldest = dayOf(clock.now() - ageMs);
    for (const day of await this.#days()) if (day < oldest) await rm(this.#path(day));
  }

  #path(day: string): string {
    return join(this.#dir, `${day}.jsonl`);
  }
}

function dayOf(ms: number): string {
  return new Date(Math.floor(ms / STEPS.day) * STEPS.day).toISOString().slice(0, 10);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Counted by the caller, who knows what it was.
    return undefined;
  }
}
