import type { LifecycleEvent, LifecycleSink } from '../../broker/lifecycle/event.ts';
import type { HubLine } from './line.ts';

/** The record of sessions that the hub keeps, of all workers. */
export class LocalRecord implements LifecycleSink {
  readonly #line: HubLine;
  /** What is stored, and lost later on, the hub counts. */
  readonly counts = { stored: 0, dropped: 0, retried: 0 };
  readonly waiting = 0;

  constructor(line: HubLine) {
    this.#line = line;
  }

  async start(): Promise<void> {}

  append(event: LifecycleEvent): void {
    if (!this.#line.up || this.#line.full) this.counts.dropped++;
    else this.#line.send('recorded', event);
  }

  undelivered(id: string, payload: string): void {
    this.#line.send('undelivered', id, payload);
  }

  async flushed(): Promise<boolean> {
    return (await this.#line.asked('flushed', null)) ?? false;
  }

  /** undefined: it cannot be read now. */
  async read(run: string): Promise<readonly LifecycleEvent[] | undefined> {
    return (await this.#line.asked('record', run)) ?? undefined;
  }

  async close(): Promise<void> {
    await this.flushed();
  }
}
