import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Keeps room for the next connection to the admin listener: a probe must always be answered, whoever holds connections
 * open. Node would refuse the newest one (`maxConnections`), which is the probe. Here the newest one gets the place of the
 * one that has been idle longest, or, where all are being answered, of the one that was asked for first.
 */
export function keepRoom(server: Server, most: number): void {
  /** In the order of their last request; `true`: it is being answered. */
  const sockets = new Map<Socket, boolean>();
  const touch = (socket: Socket, busy: boolean): void => {
    if (sockets.delete(socket)) sockets.set(socket, busy);
  };
  server.on('connection', (socket) => {
    if (sockets.size >= most) leastWanted(sockets)?.destroy();
    sockets.set(socket, false);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('request', ({ socket }, response) => {
    touch(socket, true);
    response.once('close', () => touch(socket, false));
  });
}

function leastWanted(sockets: ReadonlyMap<Socket, boolean>): Socket | undefined {
  let oldest: Socket | undefined;
  for (const [socket, busy] of sockets) {
    if (!busy) return socket;
    oldest ??= socket;
  }
  return oldest;
}
