/**
 * Writes src/transport/native-hashes.ts: the SHA-256 of each native binary of uWebSockets.js that the start compares.
 * To be run, and its change read, when one of the packages is updated: npm run pin-native
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { NATIVE_PACKAGES } from './native-packages.mjs';

const lines = NATIVE_PACKAGES.flatMap(({ name, folder, abis }) => {
  const binaries = new URL(`../node_modules/${name}/${folder && `${folder}/`}`, import.meta.url);
  const wanted = new RegExp(`^uws_(?:linux|darwin|win32)_(?:x64|arm64)_(?:${abis.join('|')})\\.node$`);
  return readdirSync(binaries)
    .filter((file) => wanted.test(file))
    .sort()
    .map((file) => {
      const digest = createHash('sha256').update(readFileSync(new URL(file, binaries))).digest('hex');
      return `  [\n    '${name}/${file}',\n    '${digest}',\n  ],\n`;
    });
});
const text = `/** Made by scripts/pin-native.mjs from the installed packages: SHA-256 by package and file. */
export const NATIVE_HASHES: ReadonlyMap<string, string> = new Map([
${lines.join('')}]);
`;
writeFileSync(new URL('../src/transport/native-hashes.ts', import.meta.url), text);
