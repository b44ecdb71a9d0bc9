import { readFileSync } from 'node:fs';

/** The same two levels up from src/config and from dist/config. */
const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  readonly version: string;
};

export const VERSION = manifest.version;
