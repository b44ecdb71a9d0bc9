// Rule 4: an exception in a handler before it has answered, with a listener that should save the process.
import * as uWS from '../../support/uws.mjs';

process.on('uncaughtException', (error) => console.error('caught', error.message));
const fail = async () => {
  throw new Error('a bug');
};
uWS
  .App()
  .ws('/connect', { idleTimeout: 32, upgrade: fail })
  .any('/*', fail)
  .listen('127.0.0.1', 0, (socket) => console.log(uWS.us_socket_local_port(socket)));
