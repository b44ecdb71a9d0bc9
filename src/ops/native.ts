/**
 * uWebSockets.js is machine code that npm brings: before it is loaded, its bytes have to be those that this version was
 * tested with. That finds a package that was swapped, cut short or updated beside the lock file; who can write to the
 * folder while the broker starts could change this file as well.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { NATIVE_HASHES } from './native-hashes.ts';

export type NativeVerdict = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** The running Node: `process`. */
export interface Runtime {
  readonly platform: string;
  readonly arch: string;
  readonly version: string;
  readonly versions: { readonly modules: string };
}

/** Takes some 10 ms: 7 MB are hashed. Looks at the binary that the package would load for this Node and system. */
export function checkNative(node: Runtime, folder = installedFolder()): NativeVerdict {
  const name = `uws_${node.platform}_${node.arch}_${node.versions.modules}.node`;
  const pinned = NATIVE_HASHES.get(name);
  if (pinned === undefined) {
    const reason = `uWebSockets.js has no binary ${name} that this version knows: use Node 20 or 22 (this is ${node.version}) on x64 or arm64`;
    return { ok: false, reason };
  }
  try {
    const found = createHash('sha256')
      .update(readFileSync(new URL(name, folder)))
      .digest('hex');
    if (found === pinned) return { ok: true };
    return { ok: false, reason: refusal(folder, name, `has the SHA-256 ${found}, and not ${pinned}`) };
  } catch (error) {
    return { ok: false, reason: refusal(folder, name, `cannot be read (${String(error)})`) };
  }
}

function refusal(folder: URL, name: string, what: string): string {
  return (
    `${fileURLToPath(new URL(name, folder))} ${what}: it is not loaded. Install again with "npm ci"; after an update of ` +
    'uWebSockets.js that you trust, "npm run pin-native" writes the new hashes'
  );
}

function installedFolder(): URL {
  return new URL('bin/', import.meta.resolve('uWebSockets.js'));
}
