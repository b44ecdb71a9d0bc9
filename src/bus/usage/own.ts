/** Usage where nothing keeps it: in memory, the newest records, until the process ends. */
import {
  type EachRecord,
  isWanted,
  type UsageQuery,
  type UsageRecord,
  type UsageStore,
} from '../../broker/usage.ts';

export class OwnUsage implements UsageStore {
  readonly #most: number;
  #kept: UsageRecord[] = [];
  #present: readonly UsageRecord[] = [];

  /** @param most records kept */
  constructor(most: number) {
    this.#most = most;
  }

  async start(): Promise<void> {}

  async keep(records: readonly UsageRecord[]): Promise<boolean> {
    this.#kept.push(...records);
    // Not at every record: what is cut off has to be moved.
    if (this.#kept.length > this.#most * 1.25) this.#kept = this.#kept.slice(-this.#most);
    return true;
  }

  async journal(records: readonly UsageRecord[]): Promise<boolean> {
    this.#present = records;
    return true;
  }

  async read(query: UsageQuery, each: EachRecord): Promise<boolean> {
    for (const records of [this.#kept, this.#present])
      for (const record of records) if (isWanted(query, record) && !each(record)) return true;
    return true;
  }

  async close(): Promise<void> {}
}
