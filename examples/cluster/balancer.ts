import { connect, createServer, type Server, type Socket } from 'node:net';

export interface Backend {
  readonly name: string;
  /** undefined while it is down. */
  readonly address: () => { readonly host: string; readonly port: number } | undefined;
}

/** Answers a request itself; undefined: the balancer passes it on. */
export type Intercept = (head: string) => Promise<string> | undefined;

/**
 * Round robin over TCP, as plain as a load balancer can be: no health checks, a backend that does not answer is
 * passed over. It keeps nothing about sessions, which is the point: any broker can resume any of them.
 */
export function createBalancer(backends: readonly Backend[], intercept: Intercept): Server {
  let turn = 0;
  return createServer((client) => {
    client.on('error', () => client.destroy());
    client.once('data', (first: Buffer) => {
      client.pause();
      const own = intercept(first.toString('latin1'));
      if (own === undefined) pass(client, first, backends, turn++, 0);
      else own.then((answer) => client.end(answer)).catch(() => client.destroy());
    });
  });
}

function pass(
  client: Socket,
  first: Buffer,
  backends: readonly Backend[],
  turn: number,
  tried: number,
): void {
  const address = backends[(turn + tried) % backends.length]?.address();
  const next = () => {
    if (tried + 1 < backends.length) pass(client, first, backends, turn, tried + 1);
    else client.end('HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n');
  };
  if (address === undefined) return next();
  const backend = connect(address.port, address.host);
  backend.once('error', next);
  backend.once('connect', () => {
    backend.off('error', next);
    backend.on('error', () => client.destroy());
    backend.write(first);
    client.pipe(backend).pipe(client);
    client.on('close', () => backend.destroy());
    backend.on('close', () => client.destroy());
    client.resume();
  });
}
