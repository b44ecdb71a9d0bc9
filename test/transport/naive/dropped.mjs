// Rule 1: acting inside `dropped`, while uWebSockets.js flushes a batch of publishes.
import * as uWS from '../../support/uws.mjs';

const how = process.argv[2];
let clients = 0;
const app = uWS.App().ws('/*', {
  maxBackpressure: 64 * 1024,
  idleTimeout: 32,
  open: (ws) => {
    ws.subscribe('room');
    clients++;
  },
  dropped: (ws) => {
    const act = () => {
      if (how === 'publish') for (let i = 0; i < 40; i++) app.publish('room', 'somebody is slow');
      else if (ws.alive !== false) ws[how === 'end' ? 'end' : 'close']();
    };
    if (how === 'microtask') queueMicrotask(act);
    else if (how === 'nextTick') process.nextTick(act);
    else act();
  },
  close: (ws) => {
    ws.alive = false;
  },
});
const payload = Buffer.alloc(8192, 120);
setInterval(() => {
  if (clients >= 4) for (let i = 0; i < 20; i++) app.publish('room', payload);
}, 1);
app.listen('127.0.0.1', 0, (socket) => console.log(uWS.us_socket_local_port(socket)));
