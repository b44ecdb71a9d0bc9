/**
 * A former build of this project, frozen: what runs at the users' while a new one comes in. `npm run freeze -- COMMIT`
 * makes the files in fixtures/ anew; docs/operations/upgrades.md says which commit they are of.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type * as Sdk from '../../src/client/index.ts';
import type { Step } from './talk.ts';

const FIXTURES = new URL('fixtures/', import.meta.url);
/** In the project: the former broker takes its packages from node_modules, as the present one does. */
const UNPACKED = new URL('../../.cache/compat/', import.meta.url);

function unpacked(name: string): URL {
  mkdirSync(UNPACKED, { recursive: true });
  const file = new URL(`${process.pid}-${name}`, UNPACKED);
  writeFileSync(file, gunzipSync(readFileSync(new URL(`${name}.gz`, FIXTURES))));
  process.once('exit', () => rmSync(file, { force: true }));
  return file;
}

/** What both have is typed as it is now. */
export async function formerSdk(): Promise<Pick<typeof Sdk, 'connect' | 'CarillonError'>> {
  return (await import(unpacked('sdk.mjs').href)) as typeof Sdk;
}

/** For `startBroker`. */
export function formerBroker(): string {
  return unpacked('broker.mjs').pathname;
}

/** What a client said to the former broker, and what it was answered. */
export function formerTalk(): Step[] {
  return JSON.parse(readFileSync(new URL('talk.json', FIXTURES), 'utf8')) as Step[];
}
