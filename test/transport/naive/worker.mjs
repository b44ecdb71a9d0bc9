// Rule 7: ending a worker thread that listens.

import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import * as uWS from '../../support/uws.mjs';

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url));
  worker.once('message', async () => {
    await worker.terminate();
    console.log('alive');
  });
} else {
  uWS
    .App()
    .ws('/*', { idleTimeout: 32 })
    .listen('127.0.0.1', 0, () => parentPort.postMessage('listening'));
}
