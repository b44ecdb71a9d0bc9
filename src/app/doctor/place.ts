/** The files by which Linux tells of itself, below a root that tests replace. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export class Place {
  readonly #root: string;

  constructor(root = '/') {
    this.#root = root;
  }

  /** undefined: there is no such file here, or it may not be read. */
  text(path: string): string | undefined {
    try {
      return readFileSync(join(this.#root, path), 'utf8').trim();
    } catch (error) {
      if (error instanceof Error && 'code' in error) return undefined;
      throw error;
    }
  }

  /** The whole numbers of a file as /proc/sys has them; empty: it is not there. */
  numbers(path: string): readonly number[] {
    return (this.text(path) ?? '')
      .split(/\s+/)
      .filter((word) => /^\d+$/.test(word))
      .map(Number);
  }

  number(path: string): number | undefined {
    return this.numbers(path)[0];
  }
}
