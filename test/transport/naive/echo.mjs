// Rules 9 and 10: no limit of connections, no budget per connection. Echoes `?`, counts everything else.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import * as uWS from '../../support/uws.mjs';

const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
let count = 0;
uWS
  .App()
  .ws('/*', {
    idleTimeout: 32,
    message: (ws, data, isBinary) => {
      count++;
      if (data.byteLength === 1 && new Uint8Array(data)[0] === 63) ws.send(data, isBinary);
    },
  })
  .get('/stall', (res) => {
    res.end(JSON.stringify({ stallMs: delay.max / 1e6, count }));
    delay.reset();
  })
  .listen('127.0.0.1', 0, (socket) => console.log(uWS.us_socket_local_port(socket)));
