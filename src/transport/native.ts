/**
 * uWebSockets.js is machine code that npm brings. Before it is loaded, its bytes have to be those that this version was
 * tested with: that finds a package that was swapped, cut short, or updated beside the lock file. Whoever can write to
 * the folder while the broker starts could change this file as well.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { NATIVE_HASHES } from './native-hashes.ts';

export type NativeVerdict = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** The running Node. */
export interface Runtime {
  readonly platform: string;
  readonly arch: string;
  readonly version: string;
  /** `process.versions.modules`: the ABI, 115 for Node 20. */
  readonly abi: string;
  /** undefined: not Linux, or a Linux with another C library. */
  readonly glibc: string | undefined;
}

/** One npm package with binaries of uWebSockets.js. */
export interface NativeBuild {
  /** As package.json names it. */
  readonly package: string;
  /** Of uWebSockets.js. */
  readonly version: string;
  /** The Node versions that it is used for, by their ABI. */
  readonly node: Readonly<Record<string, number>>;
  /** What its Linux binaries need. */
  readonly glibc: string;
  /** The folder of the binaries, from the package's entry point. */
  readonly folder: string;
}

/** No package has binaries for every Node that is in use, and the newer one needs a newer glibc. */
export const NATIVE_BUILDS: readonly NativeBuild[] = [
  { package: 'uWebSockets.js', version: '20.49', node: { 115: 20, 127: 22 }, glibc: '2.27', folder: 'bin/' },
  {
    package: 'uWebSockets.js-node24',
    version: '20.57',
    node: { 137: 24, 141: 25 },
    glibc: '2.38',
    folder: './',
  },
];

/** What the start compares and the errors name. */
export function currentRuntime(): Runtime {
  const { platform, arch, version, versions } = process;
  const report = process.report as { excludeNetwork?: boolean; getReport(): object } | undefined;
  // Looking up the names of open sockets can take seconds.
  if (report !== undefined) report.excludeNetwork = true;
  const { header } = (report?.getReport() ?? {}) as { header?: { glibcVersionRuntime?: string } };
  return { platform, arch, version, abi: versions.modules, glibc: header?.glibcVersionRuntime };
}

/** The build for this Node, or why there is none and what to do. */
export function nativeBuildFor(node: Runtime): NativeBuild | string {
  const build = NATIVE_BUILDS.find(({ node: versions }) => node.abi in versions);
  if (build === undefined)
    return `uWebSockets.js has no binary for Node ${node.version}: use Node ${supported(node.glibc)}`;
  if (node.platform !== 'linux') return build;
  if (node.glibc === undefined)
    return 'uWebSockets.js needs a Linux with glibc, such as Debian or Ubuntu: Alpine (musl) has none';
  if (atLeast(node.glibc, build.glibc)) return build;
  return (
    `uWebSockets.js for Node ${build.node[node.abi]} needs glibc ${build.glibc} (Debian 13, Ubuntu 24.04), and this ` +
    `machine has ${node.glibc}: use Node ${supported(node.glibc)} here, or a newer distribution`
  );
}

/** Takes some 10 ms: 7 MB are hashed. @param folder the binaries; absent: of the installed package */
export function checkNative(node: Runtime = currentRuntime(), folder?: URL): NativeVerdict {
  const build = nativeBuildFor(node);
  if (typeof build === 'string') return { ok: false, reason: build };
  const name = `uws_${node.platform}_${node.arch}_${node.abi}.node`;
  const pinned = NATIVE_HASHES.get(`${build.package}/${name}`);
  if (pinned === undefined)
    return { ok: false, reason: `uWebSockets.js has no binary ${name}: it runs on x64 and arm64` };
  const binaries = folder ?? new URL(build.folder, import.meta.resolve(build.package));
  try {
    const found = createHash('sha256')
      .update(readFileSync(new URL(name, binaries)))
      .digest('hex');
    if (found === pinned) return { ok: true };
    return { ok: false, reason: refusal(binaries, name, `has the SHA-256 ${found}, and not ${pinned}`) };
  } catch (error) {
    return { ok: false, reason: refusal(binaries, name, `cannot be read (${String(error)})`) };
  }
}

function refusal(folder: URL, name: string, what: string): string {
  return (
    `${fileURLToPath(new URL(name, folder))} ${what}: it is not loaded. Install again with "npm ci"; after an update of ` +
    'uWebSockets.js that you trust, "npm run pin-native" writes the new hashes'
  );
}

/** The Node versions with a binary that this glibc can load, for people. */
function supported(glibc: string | undefined): string {
  const versions = NATIVE_BUILDS.filter(
    (build) => glibc === undefined || atLeast(glibc, build.glibc),
  ).flatMap(({ node }) => Object.values(node));
  return `${versions.slice(0, -1).join(', ')} or ${versions.at(-1)}`;
}

function atLeast(version: string, wanted: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number);
  return major !== wantedMajor ? major > wantedMajor : minor >= wantedMinor;
}
