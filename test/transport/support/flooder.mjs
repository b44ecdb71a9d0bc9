// A client that writes one kind of frame as fast as the kernel takes it, and comes back whenever it is closed.
// Arguments: port, the handshake, what comes first, and the frame; the last three in hex.
import { connect } from 'node:net';

const [port, head, first, frame] = process.argv.slice(2);
const unit = Buffer.from(frame, 'hex');
const block = Buffer.concat(Array.from({ length: Math.ceil(2 ** 20 / unit.length) }, () => unit));

function flood() {
  const socket = connect({ port: Number(port), host: '127.0.0.1' });
  const write = () => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('connect', () => socket.write(Buffer.from(head, 'hex')));
  // Nothing before the 101: bytes of a client that cannot wait end the handshake.
  socket.once('data', () => {
    socket.write(Buffer.from(first, 'hex'));
    write();
  });
  socket.on('data', () => {});
  socket.on('drain', write);
  // A reset by the server is how a flood is meant to end.
  socket.on('error', () => socket.destroy());
  socket.on('close', () => setImmediate(flood));
}
flood();
// Whoever started it may be gone: a flood without an end would hold a core for ever.
setTimeout(() => process.exit(0), 30_000);
