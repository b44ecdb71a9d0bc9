/** A key set in a file, read again whenever it changes. A file that cannot be used changes nothing. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { parseJwks } from './jwks.ts';
import type { KeySet } from './keyset.ts';
import type { Around } from './surroundings.ts';
import { Watching, type WatchTimes } from './watching.ts';

export interface WatchedOptions extends WatchTimes {
  readonly path: string;
  /** In logs and metrics. */
  readonly name: string;
  readonly bytes: number;
  readonly keysMax: number;
}

export class WatchedKeys {
  readonly #options: WatchedOptions;
  readonly #set: KeySet;
  readonly #around: Around;
  readonly #watching: Watching;
  #text: string | undefined;
  /** What was refused last and why, so that a poll does not repeat the complaint. */
  #refused: { readonly text: string | undefined; readonly reason: string } | undefined;
  #loading: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: WatchedOptions, set: KeySet, around: Around) {
    this.#options = options;
    this.#set = set;
    this.#around = around;
    this.#watching = new Watching(
      options,
      () => this.#reload(),
      (error) => this.#unwatched(error),
    );
  }

  /** @throws when the file cannot be used: a start without its keys would refuse everybody. */
  async start(): Promise<void> {
    await this.#load();
    const { path } = this.#options;
    if (this.#text === undefined) throw new Error(`the key set ${path} ${this.#refused?.reason}`);
    this.#watching.start([path]);
  }

  close(): void {
    this.#closed = true;
    this.#watching.close();
  }

  #unwatched(error: unknown): void {
    const { pollMs } = this.#options;
    this.#around.log.warn(
      { ...this.#named(), err: error, pollMs },
      'the key set is not watched, only polled',
    );
  }

  /** One after the other, so that the older of two reads cannot win. */
  #reload(): void {
    this.#loading = this.#loading
      .then(() => this.#load())
      .catch((error: unknown) =>
        this.#around.log.error({ ...this.#named(), err: error }, 'the reload of a key set failed'),
      );
  }

  async #load(): Promise<void> {
    const { path, name, bytes, keysMax } = this.#options;
    const text = await textOf(path, bytes);
    if (this.#closed) return;
    if (typeof text !== 'string') return this.#refuse('unreadable', text.reason, undefined);
    if (text === this.#text) return this.#unchanged();
    const parsed = parseJwks(text, { symmetric: true, keysMax });
    if (!parsed.ok) return this.#refuse('garbage', parsed.reason, text);
    const { clock, log, counts } = this.#around;
    this.#set.replace('file', parsed.keys);
    counts.refresh('ok');
    if (this.#text !== undefined)
      log.info({ ...this.#named(), keys: parsed.keys.length }, 'key set reloaded');
    this.#text = text;
    this.#refused = undefined;
    counts.keySets.set(name, { loadedAt: clock.now(), keys: parsed.keys.length });
  }

  /** Also after a mistake that was taken back. */
  #unchanged(): void {
    const { clock, counts } = this.#around;
    const keys = counts.keySets.get(this.#options.name)?.keys ?? 0;
    counts.keySets.set(this.#options.name, { loadedAt: clock.now(), keys });
    this.#refused = undefined;
  }

  #refuse(outcome: 'unreadable' | 'garbage', reason: string, text: string | undefined): void {
    if (this.#refused?.reason === reason && this.#refused.text === text) return;
    this.#refused = { text, reason };
    this.#around.counts.refresh(outcome);
    this.#around.log.warn(
      { ...this.#named(), reason },
      'the key set cannot be used; the keys stay as they were',
    );
  }

  #named(): object {
    return { keySet: this.#options.name, file: basename(this.#options.path) };
  }
}

async function textOf(path: string, bytes: number): Promise<string | { readonly reason: string }> {
  try {
    const text = await readFile(path, 'utf8');
    return Buffer.byteLength(text) <= bytes ? text : { reason: `is over ${bytes} bytes` };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    return { reason: `cannot be read (${code})` };
  }
}
