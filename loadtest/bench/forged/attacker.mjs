/** A process that offers forged tokens, each on a connection of its own, as evenly as it can. */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { connect } from 'node:net';
import { handshake } from '../../support/wire.mjs';

const CONNECTIONS = 600;
const counts = new Map();
let open = 0;
let turned = 0;
let timer;

/** Not a signature of the key, but of the form of one: none is refused for its looks. */
const own = generateKeyPairSync('ed25519').privateKey;
const claims = Buffer.from(
  JSON.stringify({ sub: 'mallory', exp: Math.floor(Date.now() / 1000) + 3600, rooms: [] }),
).toString('base64url');

function forged(alg, kid) {
  const head = Buffer.from(JSON.stringify({ alg, kid, n: randomBytes(6).toString('hex') })).toString(
    'base64url',
  );
  const input = `${head}.${claims}`;
  const signature = alg === 'EdDSA' ? sign(null, Buffer.from(input), own) : randomBytes(32);
  return `${input}.${signature.toString('base64url')}`;
}

/** Addresses that the proxy claims to have seen. */
function attempt({ host, port, alg, kid, addresses }, at) {
  open++;
  const socket = connect({ host, port });
  const from = at % addresses;
  const head = handshake({ path: '/connect', host, port, protocol: 'chat.v1', token: forged(alg, kid) });
  socket.on('connect', () =>
    socket.write(
      head.replace(/\r\n$/, `X-Forwarded-For: 10.${from >> 16}.${(from >> 8) & 255}.${from & 255}\r\n\r\n`),
    ),
  );
  socket.once('data', (data) => {
    const status = data.toString('latin1', 9, 12);
    counts.set(status, (counts.get(status) ?? 0) + 1);
    socket.destroy();
  });
  socket.on('error', () => counts.set('error', (counts.get('error') ?? 0) + 1));
  socket.on('close', () => open--);
}

function flood(target) {
  let offered = 0;
  let sent = 0;
  const begun = performance.now();
  timer = setInterval(() => {
    offered = ((performance.now() - begun) / 1000) * target.rate;
    // What cannot be sent is not made up for: the rate is told with the result.
    for (; sent < offered && open < CONNECTIONS; sent++) attempt(target, turned++);
    if (open >= CONNECTIONS) sent = offered;
  }, 2);
}

process.on('message', ({ id, command, ...fields }) => {
  let result;
  if (command === 'flood') flood(fields);
  if (command === 'stop') {
    clearInterval(timer);
    result = Object.fromEntries(counts);
    counts.clear();
  }
  process.send({ id, result });
});
process.on('disconnect', () => process.exit(0));
