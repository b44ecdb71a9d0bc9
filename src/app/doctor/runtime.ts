/** Node and the machine code of uWebSockets.js. */
import { checkNative, nativeBuildFor, type Runtime } from '../../transport/native.ts';
import { type Finding, fail, ok } from './finding.ts';

export function node(runtime: Runtime): Finding {
  const build = nativeBuildFor(runtime);
  if (typeof build === 'string') return fail('node', `${runtime.version} cannot run the broker`, build);
  return ok('node', `${runtime.version}, with uWebSockets.js ${build.version}`);
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
