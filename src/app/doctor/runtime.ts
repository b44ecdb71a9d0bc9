/** Node and the machine code of uWebSockets.js. */
import { checkNative, type Runtime } from '../../ops/native.ts';
import { type Finding, fail, ok } from './finding.ts';

/** The versions that uWebSockets.js has binaries for, as package.json and the README say. */
const NODE_MIN = 20;

export function node({ version }: Runtime): Finding {
  const major = Number(/^v(\d+)\./.exec(version)?.[1]);
  if (major >= NODE_MIN) return ok('node', version);
  return fail('node', `${version} is too old`, 'Node 20 or 22');
}

/** Loads it only with its pinned hash. */
export async function native(runtime: Runtime): Promise<Finding> {
  const check = 'native-module';
  const verdict = checkNative(runtime);
  if (!verdict.ok) return fail(check, verdict.reason, 'npm ci, on this machine and with this Node');
  try {
    await import('../../transport/server.ts');
  } catch (error) {
    const says = `it has the pinned hash and does not load: ${String(error)}`;
    return fail(check, says, 'a Linux with glibc, as in the image');
  }
  return ok(check, 'uWebSockets.js has its pinned hash and loads');
}
