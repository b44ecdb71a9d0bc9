/**
 * Writes src/ops/native-hashes.ts: the SHA-256 of each native binary of the installed uWebSockets.js, that the start
 * compares. To be run, and its change read, when that package is updated: npm run pin-native
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const binaries = new URL('../node_modules/uWebSockets.js/dist/bin/', import.meta.url);
/** Node 20 and 22 on the systems that the broker is for, and those that it is developed on. */
const SUPPORTED = /^uws_(?:linux|darwin|win32)_(?:x64|arm64)_(?:115|127)\.node$/;

const lines = readdirSync(binaries)
  .filter((name) => SUPPORTED.test(name))
  .sort()
  .map((name) => {
    const digest = createHash('sha256').update(readFileSync(new URL(name, binaries))).digest('hex');
    return `  ['${name}', '${digest}'],\n`;
  });
const text = `/** Made by scripts/pin-native.mjs from the installed uWebSockets.js: SHA-256 by file name. */
export const NATIVE_HASHES: ReadonlyMap<string, string> = new Map([
${lines.join('')}]);
`;
writeFileSync(new URL('../src/ops/native-hashes.ts', import.meta.url), text);
