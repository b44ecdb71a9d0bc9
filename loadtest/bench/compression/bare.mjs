/** A bare server that publishes to a topic or holds idle connections, with one of the compressors or none. */
import * as uWS from '../../../test/support/uws.mjs';

const [compressor, bytes] = [process.argv[2], Number(process.argv[3])];
/** Events as the broker makes them; names and numbers differ, the rest repeats. */
const payload = event();
const app = uWS.App();
app.ws('/*', {
  compression: { off: uWS.DISABLED, shared: uWS.SHARED_COMPRESSOR, dedicated: uWS.DEDICATED_COMPRESSOR_4KB }[
    compressor
  ],
  idleTimeout: 120,
  maxBackpressure: 64 * 1024 * 1024,
  open: (ws) => ws.subscribe('bench'),
  message(_ws, message) {
    const times = Number(Buffer.from(message).toString());
    setImmediate(() => {
      for (let n = 0; n < times; n++) app.publish('bench', payload, false, compressor !== 'off');
    });
  },
});
app.listen('127.0.0.1', 0, (token) => {
  if (!token) throw new Error('cannot listen');
  console.log(JSON.stringify({ msg: 'listening', listen: `127.0.0.1:${uWS.us_socket_local_port(token)}` }));
});
process.on('SIGTERM', () => process.exit(0));

function event() {
  const words = [];
  for (let n = 0; words.join(' ').length < bytes; n++)
    words.push(`"word${(n * 7919) % 997}":${(n * 104729) % 9973}`);
  return `{"type":"event","room":"bench","payload":{${words.join(',')}}}`.slice(0, bytes);
}
