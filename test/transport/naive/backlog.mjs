// Rule 12: no limit on what waits for a slow reader, and what has waited is not given back.
import * as uWS from '../../support/uws.mjs';

const [readers, megabytes] = process.argv.slice(2).map(Number);
let clients = 0;
const payload = Buffer.alloc(1024 * 1024, 120);
const app = uWS
  .App()
  .ws('/*', {
    maxBackpressure: 0,
    idleTimeout: 60,
    open: (ws) => {
      ws.subscribe('room');
      if (++clients === readers) for (let i = 0; i < megabytes; i++) app.publish('room', payload, true);
    },
  })
  .get('/rss', (res) => res.end(String(process.memoryUsage.rss())))
  .listen('127.0.0.1', 0, (socket) => console.log(uWS.us_socket_local_port(socket)));
