/** The stores of a single node in a file: written whole, beside the old one, and put in its place. */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { Row } from '../cluster/replica.ts';

const FILE = 'state.json';

const row = z.strictObject({
  key: z.string(),
  text: z.string(),
  revision: z.int().min(1),
  expiresAt: z.number().optional(),
});
const content = z.strictObject({
  format: z.literal('carillon state 1'),
  revision: z.int().min(0),
  stores: z.record(z.string(), z.array(row)),
});

export interface SavedState {
  readonly revision: number;
  readonly stores: Readonly<Record<string, readonly Row[]>>;
}

export class StateFile {
  readonly #path: string;
  readonly #current: () => SavedState;
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(dir: string, current: () => SavedState) {
    this.#path = join(dir, FILE);
    this.#current = current;
  }

  /** undefined: there is none yet. Throws when it cannot be read: going on without its bans would open doors. */
  async read(): Promise<SavedState | undefined> {
    await mkdir(dirname(this.#path), { recursive: true });
    const text = await readFile(this.#path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw new Error(`${this.#path} (state.dir) cannot be read: ${error.message}`, { cause: error });
    });
    if (text === undefined) return undefined;
    const found = content.safeParse(parsed(text));
    if (found.success) {
      const { revision, stores } = found.data;
      const rows = Object.entries(stores).map(([name, list]) => [name, list.map(plainRow)] as const);
      return { revision, stores: Object.fromEntries(rows) };
    }
    const [issue] = found.error.issues;
    throw new Error(
      `${this.#path} (state.dir) is not a state file of Carillon, or damaged: ${issue?.path.join('.')}: ${issue?.message}. ` +
        'Put back a copy, or move it away to start with empty stores: policies, revocations and bans are then gone.',
    );
  }

  /** Resolves when all that was there at the call is on the disk. Calls during one write share the next. */
  save(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    const before = this.#writing ?? Promise.resolve();
    const next = before
      .catch(() => undefined) // Told to those who waited for it.
      .then(() => {
        this.#next = undefined;
        this.#writing = this.#write();
        return this.#writing;
      });
    this.#next = next;
    return next;
  }

  async #write(): Promise<void> {
    const fresh = `${this.#path}.new`;
    const file = await open(fresh, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify({ format: 'carillon state 1', ...this.#current() }));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, this.#path);
    // The name is in the folder, which has a life of its own on the disk.
    const folder = await open(dirname(this.#path), 'r');
    await folder.sync().finally(() => folder.close());
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The schema says what it should have been.
    return undefined;
  }
}

function plainRow({ key, text, revision, expiresAt }: z.output<typeof row>): Row {
  return { key, text, revision, expiresAt };
}
