/**
 * Takes from an installed node_modules what a Linux image never loads: uWebSockets.js comes with a binary for every
 * platform and Node version, 270 MB in two packages. Kept are those for this Node, glibc, x64 and arm64.
 *
 *   node scripts/prune-native.mjs [node_modules]
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { NATIVE_PACKAGES } from './native-packages.mjs';

const modules = process.argv[2] ?? 'node_modules';
const abi = process.versions.modules;
const wanted = NATIVE_PACKAGES.filter(({ abis }) => abis.includes(abi)).flatMap(({ name, folder }) =>
  ['x64', 'arm64'].map((arch) => join(modules, name, folder, `uws_linux_${arch}_${abi}.node`)),
);

// Checked first: packages that have moved their binaries would otherwise give an image that cannot start.
const missing = wanted.filter((path) => !existsSync(path));
if (wanted.length === 0 || missing.length > 0) {
  console.error(`no build for Node ${process.version}: ${missing.join(', ') || 'no package has one'}`);
  process.exit(1);
}

for (const { name, folder } of NATIVE_PACKAGES) {
  const path = join(modules, name, folder);
  if (!existsSync(path)) continue;
  for (const file of readdirSync(path).filter((one) => one.endsWith('.node')))
    if (!wanted.includes(join(path, file))) rmSync(join(path, file));
}
