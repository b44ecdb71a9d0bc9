/** A TCP proxy that can be cut, for what the network does between a client and a broker. */
import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net';

export interface Cut {
  /** `http://host:port` */
  readonly httpUrl: string;
  /** Ends all connections without a goodbye; new ones hang until `mend`, as where packets are lost. */
  cut(): void;
  mend(): void;
  close(): void;
}

/** `target`: `host:port`. */
export async function cutProxy(target: string): Promise<Cut> {
  const { hostname, port } = new URL(`tcp://${target}`);
  const sockets = new Set<Socket>();
  const waiting: Socket[] = [];
  let whole = true;
  const join = (near: Socket) => {
    const far = dial(Number(port), hostname);
    sockets.add(far);
    near.pipe(far).pipe(near);
    far.on('error', () => near.destroy());
    far.on('close', () => {
      sockets.delete(far);
      near.destroy();
    });
    near.on('close', () => far.destroy());
  };
  const server = createServer({ pauseOnConnect: true }, (near) => {
    sockets.add(near);
    // Resets are what this is about.
    near.on('error', () => near.destroy());
    near.on('close', () => sockets.delete(near));
    if (whole) join(near);
    else waiting.push(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    whole = false;
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    httpUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    mend: () => {
      whole = true;
      for (const near of waiting.splice(0)) join(near);
    },
    close: () => {
      cut();
      server.close();
    },
  };
}
