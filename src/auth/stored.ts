/** The last good key set of a URL on disk, so that a start does not depend on the URL being there. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../broker/ports.ts';

export interface Stored {
  readonly url: string;
  /** Milliseconds since 1970. */
  readonly fetchedAt: number;
  /** The text of the set, judged anew when it is read. */
  readonly jwks: string;
}

function fileOf(folder: string, url: string): string {
  return join(folder, `jwks-${createHash('sha256').update(url).digest('hex').slice(0, 32)}.json`);
}

/** undefined: there is none, or none that can be used, which is logged. */
export async function readStored(folder: string, url: string, log: Log): Promise<Stored | undefined> {
  const file = fileOf(folder, url);
  try {
    const value = JSON.parse(await readFile(file, 'utf8')) as Partial<Stored>;
    if (value.url === url && typeof value.fetchedAt === 'number' && typeof value.jwks === 'string')
      return value as Stored;
    log.warn({ file }, 'cached key set ignored: it is not one of this URL');
  } catch (error) {
    // Not there: the first start.
    if (codeOf(error) !== 'ENOENT') log.warn({ file, reason: codeOf(error) }, 'cached key set ignored');
  }
  return undefined;
}

/** Whole or not at all: a crash leaves the old file. A folder that cannot be written is logged; keys work without. */
export async function writeStored(folder: string, stored: Stored, log: Log): Promise<void> {
  const file = fileOf(folder, stored.url);
  // Two brokers on one machine may share the folder.
  const draft = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(draft, JSON.stringify(stored), { mode: 0o600, flag: 'wx' });
    await rename(draft, file);
  } catch (error) {
    log.warn({ file, reason: codeOf(error) }, 'the key set could not be cached');
  }
}

function codeOf(error: unknown): string {
  if (error instanceof SyntaxError) return 'not JSON';
  return error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
}
