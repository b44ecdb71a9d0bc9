/** Run by native.test.ts: a client on the runtime's own WebSocket, told by its first argument where to connect. */
import { connect } from '../../src/client/index.ts';

const client = connect(process.argv[2] ?? '', {
  token: 'tok',
  reconnect: { minMs: 1, maxMs: 10, maxAttempts: 2 },
});
const room = client.join('r');
room.on('event', ({ payload }) => console.log(`event ${payload}`));
client.on('state', (state) => {
  console.log(state.name === 'closed' ? `closed ${state.error?.code}` : state.name);
});
