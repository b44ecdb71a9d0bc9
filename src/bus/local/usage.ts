import type { EachRecord, UsageQuery, UsageRecord, UsageStore } from '../../broker/usage.ts';
import type { HubLine } from './line.ts';

/** Usage that the hub keeps, of all workers. */
export class LocalUsage implements UsageStore {
  readonly #line: HubLine;

  constructor(line: HubLine) {
    this.#line = line;
  }

  async start(): Promise<void> {}

  async keep(records: readonly UsageRecord[]): Promise<boolean> {
    return (await this.#line.asked('keepUsage', records)) ?? false;
  }

  async journal(records: readonly UsageRecord[]): Promise<boolean> {
    return (await this.#line.asked('journalUsage', records)) ?? false;
  }

  async read(query: UsageQuery, each: EachRecord): Promise<boolean> {
    let wanted = true;
    const part = (records: readonly UsageRecord[]) => {
      for (const record of records) if (wanted) wanted = each(record);
    };
    return (await this.#line.asked('readUsage', query, part)) ?? false;
  }

  async close(): Promise<void> {}
}
