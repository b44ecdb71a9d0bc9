// Rules 2 and 3: an upgrade after an await, without and with `cork`.
import * as uWS from '../../support/uws.mjs';

const corked = process.argv[2] === 'corked';
const app = uWS.App().ws('/*', {
  idleTimeout: 32,
  upgrade: async (res, req, context) => {
    const key = req.getHeader('sec-websocket-key');
    const protocol = req.getHeader('sec-websocket-protocol');
    let aborted = false;
    res.onAborted(() => {
      aborted = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (aborted) return;
    const upgrade = () => res.upgrade({}, key, protocol, '', context);
    if (corked) res.cork(upgrade);
    else upgrade();
  },
  open: (ws) => ws.subscribe('room'),
});
setInterval(() => app.publish('room', 'tick'), 5);
app.listen('127.0.0.1', 0, (socket) => console.log(uWS.us_socket_local_port(socket)));
