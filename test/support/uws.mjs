/** uWebSockets.js for programs that have nothing of the broker: the same build that the broker takes on this Node. */
const NODE_24 = 137;

export const { App, SSLApp, DISABLED, SHARED_COMPRESSOR, us_listen_socket_close, us_socket_local_port } =
  await import(Number(process.versions.modules) < NODE_24 ? 'uWebSockets.js' : 'uWebSockets.js-node24');
