import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';

/**
 * Below the range from which the kernel gives ports to clients (32768 and up): while a server is down that has to come
 * back to its port, neither somebody's connection nor another test's server on port 0 may take it.
 */
const LOWEST = 10_000;
const HIGHEST = 32_000;

/** Ports that were free a moment ago, all different, for servers that have to come back to the same one. */
export async function freePorts(count: number): Promise<number[]> {
  const held: Server[] = [];
  while (held.length < count) held.push(...(await hold(randomInt(LOWEST, HIGHEST))));
  const ports = held.map((server) => (server.address() as AddressInfo).port);
  for (const server of held) await once(server.close(), 'close');
  return ports;
}

/** A loopback address with such a port. */
export async function freeAddress(): Promise<string> {
  return `127.0.0.1:${(await freePorts(1))[0]}`;
}

/** None where the port is taken. */
async function hold(port: number): Promise<Server[]> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    return [server];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return [];
    throw error;
  }
}
