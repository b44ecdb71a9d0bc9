/** uWebSockets.js, in the build for this Node. What loads this file has seen `checkNative` say yes. */
import type * as UWebSockets from 'uWebSockets.js';
import { currentRuntime, nativeBuildFor } from './native.ts';

const build = nativeBuildFor(currentRuntime());
if (typeof build === 'string') throw new Error(build);

export const { App, SSLApp, us_listen_socket_close, us_socket_local_port } = (await import(
  build.package
)) as typeof UWebSockets;
