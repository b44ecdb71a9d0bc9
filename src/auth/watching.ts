/** Tells when files may have changed. */
import { type FSWatcher, watch } from 'node:fs';
import { dirname } from 'node:path';

export interface WatchTimes {
  /** Editors write in several steps. */
  readonly debounceMs: number;
  /** Network file systems tell nobody of changes: the files are also looked at this often. */
  readonly pollMs: number;
}

export class Watching {
  readonly #times: WatchTimes;
  readonly #changed: () => void;
  readonly #unwatched: (error: unknown) => void;
  #watchers: readonly FSWatcher[] = [];
  #debounce: NodeJS.Timeout | undefined;
  #poll: NodeJS.Timeout | undefined;

  /**
   * @param changed called after each change in the files' folders, and every `pollMs`
   * @param unwatched called with the error where only polling is left
   */
  constructor(times: WatchTimes, changed: () => void, unwatched: (error: unknown) => void) {
    this.#times = times;
    this.#changed = changed;
    this.#unwatched = unwatched;
  }

  /** The folders, not the files: a rename puts another file in its place, and Kubernetes swaps a link beside it. */
  start(files: readonly string[]): void {
    this.#watchers = [...new Set(files.map((file) => dirname(file)))].flatMap((folder) =>
      this.#watch(folder),
    );
    this.#poll = setInterval(this.#changed, this.#times.pollMs).unref();
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.close();
    clearTimeout(this.#debounce);
    clearInterval(this.#poll);
  }

  /** As if a file had changed. */
  soon(): void {
    clearTimeout(this.#debounce);
    this.#debounce = setTimeout(this.#changed, this.#times.debounceMs).unref();
  }

  #watch(folder: string): FSWatcher[] {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.soon());
      return [watcher.on('error', this.#unwatched)];
    } catch (error) {
      this.#unwatched(error);
      return [];
    }
  }
}
