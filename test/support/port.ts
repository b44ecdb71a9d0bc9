import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/**
 * A loopback address that is free now, for what has to come back to the same one. uWebSockets.js sets SO_REUSEADDR
 * for a given port only: what it bound as port 0 cannot be bound again while old connections linger.
 */
export async function freeAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `127.0.0.1:${port}`;
}
