/** Joins a room, sends the first half of a frame, says so, and waits to be killed. Arguments: port, token, room. */
import { connect } from 'node:net';

const [port, token, room] = process.argv.slice(2);
const socket = connect(Number(port), '127.0.0.1');
socket.write(
  `GET /connect HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat.v1\r\nAuthorization: Bearer ${token}\r\n\r\n`,
);
let step = 0;
socket.on('data', (data) => {
  const text = data.toString('latin1');
  if (step === 0 && text.includes('server_info')) {
    step = 1;
    const join = Buffer.from(JSON.stringify({ type: 'join', room }));
    socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | join.length, 0, 0, 0, 0]), join]));
  } else if (step === 1 && text.includes('joined')) {
    step = 2;
    // 1,000 bytes announced, 10 sent.
    socket.write(
      Buffer.concat([Buffer.from([0x81, 0xfe, 0x03, 0xe8, 0, 0, 0, 0]), Buffer.from('{"type":"p')]),
      () => process.stdout.write('half\n'),
    );
  }
});
