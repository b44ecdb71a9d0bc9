/**
 * Takes from an installed node_modules what a Linux image never loads: uWebSockets.js comes with a binary for every
 * platform and Node version, 130 MB of them. Kept are those for this Node, glibc, x64 and arm64.
 *
 *   node scripts/prune-native.mjs [node_modules]
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

const binaries = join(process.argv[2] ?? 'node_modules', 'uWebSockets.js', 'dist', 'bin');
const wanted = ['x64', 'arm64'].map((arch) => `uws_linux_${arch}_${process.versions.modules}.node`);

// Checked first: a package that has moved its binaries would otherwise give an image that cannot start.
for (const name of wanted) {
  if (existsSync(join(binaries, name))) continue;
  console.error(`${binaries} has no ${name}: no build for Node ${process.version}, or another layout of the package`);
  process.exit(1);
}

for (const name of readdirSync(binaries)) {
  if (!wanted.includes(name)) rmSync(join(binaries, name));
}
