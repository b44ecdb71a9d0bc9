import { currentRuntime, type NativeBuild, nativeBuildFor } from '../../../src/transport/native.ts';

/** The build of uWebSockets.js that this Node takes: some of what is observed differs between them. */
export const BUILD = nativeBuildFor(currentRuntime()) as NativeBuild;
