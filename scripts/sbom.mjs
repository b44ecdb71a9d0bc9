/**
 * Prints a CycloneDX list of what the image holds: npm's own, and in it the native binaries with their SHA-256, which
 * npm does not see. The same for the same lock file, hence without its time and serial number. npm run -s sbom > FILE
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NATIVE_PACKAGES } from './native-packages.mjs';

const root = new URL('../', import.meta.url);
const text = execFileSync('npm', ['sbom', '--omit=dev', '--sbom-format=cyclonedx', '--sbom-type=application'], {
  cwd: root,
  encoding: 'utf8',
  maxBuffer: 64 * 1024 * 1024,
});
const { serialNumber: _serial, metadata, components, ...bill } = JSON.parse(text);
const { timestamp: _time, ...about } = metadata;

const binaries = NATIVE_PACKAGES.flatMap(({ name, folder, abis }) =>
  abis.flatMap((abi) =>
    ['x64', 'arm64'].map((arch) => ({ in: join(name, folder), name: `uws_linux_${arch}_${abi}.node` })),
  ),
);
const native = binaries.map(({ in: folder, name }) => {
  const bytes = readFileSync(new URL(`node_modules/${folder}/${name}`, root));
  const content = createHash('sha256').update(bytes).digest('hex');
  return { type: 'file', name, 'bom-ref': `native:${name}`, hashes: [{ alg: 'SHA-256', content }] };
});
console.log(JSON.stringify({ ...bill, metadata: about, components: [...components, ...native] }, undefined, 2));
