/** The record of sessions of a single node: a file of JSON lines, begun anew when it is large. */
import { createReadStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { LifecycleEvent, LifecycleSink } from '../../broker/lifecycle/event.ts';
import type { Log } from '../../broker/ports.ts';

export interface FileLifecycleParts {
  readonly dir: string;
  readonly settings: { readonly fileBytes: number; readonly files: number; readonly queue: number };
  readonly log: Log;
}

const NAME = 'lifecycle.jsonl';
const UNDELIVERED = 'undelivered.jsonl';

export class FileLifecycle implements LifecycleSink {
  readonly #events: Lines;
  readonly #undelivered: Lines;

  constructor(parts: FileLifecycleParts) {
    this.#events = new Lines(NAME, parts);
    this.#undelivered = new Lines(UNDELIVERED, parts);
  }

  get waiting(): number {
    return this.#events.waiting;
  }

  get counts() {
    return this.#events.counts;
  }

  /** Throws when the folder or a file cannot be written. */
  async start(): Promise<void> {
    await this.#events.start();
    await this.#undelivered.start();
  }

  append(event: LifecycleEvent): void {
    this.#events.append(JSON.stringify(event));
  }

  undelivered(_id: string, payload: string): void {
    this.#undelivered.append(payload);
  }

  flushed(): Promise<boolean> {
    return this.#events.flushed();
  }

  /** Everything that a run has recorded and that is kept. */
  async read(run: string): Promise<LifecycleEvent[]> {
    const events: LifecycleEvent[] = [];
    for (const path of await this.#events.kept()) {
      for await (const line of createInterface({ input: createReadStream(path) })) {
        const event = parsed(line);
        if (event?.run === run) events.push(event);
      }
    }
    return events;
  }

  async close(): Promise<void> {
    await this.#events.close();
    await this.#undelivered.close();
  }
}

/** A line cut short by a crash is no event. */
function parsed(line: string): LifecycleEvent | undefined {
  try {
    return JSON.parse(line) as LifecycleEvent;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** One file and its predecessors: `name`, `name.1` (the last before it), `name.2`, … */
class Lines {
  readonly #name: string;
  readonly #parts: FileLifecycleParts;
  #file: FileHandle | undefined;
  #bytes = 0;
  #lines: string[] = [];
  #writing: Promise<void> | undefined;
  #failed = false;
  readonly counts = { stored: 0, dropped: 0, retried: 0 };

  constructor(name: string, parts: FileLifecycleParts) {
    this.#name = name;
    this.#parts = parts;
  }

  get waiting(): number {
    return this.#lines.length;
  }

  async start(): Promise<void> {
    await mkdir(this.#parts.dir, { recursive: true });
    await this.#open();
    // What a crash has cut short must not join the next line.
    if (this.#bytes > 0 && !(await this.#ended())) await this.#file?.write('\n');
  }

  async #ended(): Promise<boolean> {
    const file = await open(this.#path(), 'r');
    try {
      const { buffer } = await file.read(Buffer.alloc(1), 0, 1, this.#bytes - 1);
      return buffer.toString() === '\n';
    } finally {
      await file.close();
    }
  }

  append(line: string): void {
    if (this.#lines.length >= this.#parts.settings.queue) {
      if (this.counts.dropped++ === 0)
        this.#parts.log.error(
          { file: this.#path() },
          'events of sessions are lost: the disk does not keep up',
        );
      return;
    }
    this.#lines.push(line);
    this.#writing ??= this.#write();
  }

  async flushed(): Promise<boolean> {
    while (this.#writing !== undefined) await this.#writing;
    return !this.#failed;
  }

  /** The oldest first. */
  async kept(): Promise<string[]> {
    const names = await readdir(this.#parts.dir);
    const numbers = names.flatMap((name) => {
      if (name === this.#name) return [0];
      const [, number] = name.startsWith(`${this.#name}.`) ? name.split(`${this.#name}.`) : [];
      return number === undefined || !/^\d+$/.test(number) ? [] : [Number(number)];
    });
    return numbers.sort((one, other) => other - one).map((number) => this.#path(number));
  }

  async close(): Promise<void> {
    await this.flushed();
    await this.#file?.close();
    this.#file = undefined;
  }

  async #write(): Promise<void> {
    while (this.#lines.length > 0) {
      const lines = this.#lines;
      this.#lines = [];
      const text = `${lines.join('\n')}\n`;
      try {
        if (this.#bytes > this.#parts.settings.fileBytes) await this.#rotate();
        await this.#file?.write(text);
        await this.#file?.datasync();
        this.#bytes += Buffer.byteLength(text);
        this.counts.stored += lines.length;
        this.#failed = false;
      } catch (error) {
        this.#failed = true;
        this.counts.dropped += lines.length;
        this.#parts.log.error(
          { err: error, events: lines.length, file: this.#path() },
          'events of sessions are lost',
        );
      }
    }
    this.#writing = undefined;
  }

  async #rotate(): Promise<void> {
    await this.#file?.close();
    const { files } = this.#parts.settings;
    await rm(this.#path(files - 1), { force: true });
    const numbers = (await this.kept()).map((path) => Number(path.slice(this.#path().length + 1)));
    for (const number of numbers)
      if (number < files - 1) await rename(this.#path(number), this.#path(number + 1));
    await this.#open();
  }

  async #open(): Promise<void> {
    this.#file = await open(this.#path(), 'a', 0o600);
    this.#bytes = (await this.#file.stat()).size;
  }

  #path(number = 0): string {
    return join(this.#parts.dir, number === 0 ? this.#name : `${this.#name}.${number}`);
  }
}
