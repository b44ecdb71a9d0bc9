/** The server that everybody writes first: publish where the message arrives. Every connection is a subscriber. */
import * as uWS from '../../../../test/support/uws.mjs';

const app = uWS.App();
app.ws('/*', {
  idleTimeout: 120,
  maxPayloadLength: 64 * 1024,
  maxBackpressure: 16 * 1024 * 1024,
  upgrade(res, req, context) {
    res.upgrade(
      { subscribes: req.getUrl() !== '/publish' },
      req.getHeader('sec-websocket-key'),
      req.getHeader('sec-websocket-protocol'),
      req.getHeader('sec-websocket-extensions'),
      context,
    );
  },
  open(ws) {
    if (ws.getUserData().subscribes) ws.subscribe('bench');
  },
  message(_ws, message, isBinary) {
    app.publish('bench', message, isBinary);
  },
});
app.listen('127.0.0.1', 0, (token) => {
  if (!token) throw new Error('cannot listen');
  console.log(JSON.stringify({ msg: 'listening', listen: `127.0.0.1:${uWS.us_socket_local_port(token)}` }));
});
process.on('SIGTERM', () => process.exit(0));
