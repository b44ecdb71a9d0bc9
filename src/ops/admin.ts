import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Log } from '../broker/ports.ts';
import type { Readiness } from './health.ts';
import type { Metrics } from './metrics.ts';

/** Probes and scrapes are small and quick: what needs more than this is not one of them. */
const LIMITS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 5_000,
  requestTimeout: 5_000,
  // How often Node looks for requests that are over their time.
  connectionsCheckingInterval: 1_000,
  keepAliveTimeout: 60_000,
};

/** Of a client that connects and asks nothing, or stops reading its answer; also of a handler. */
const SILENCE_MS = 5_000;

/** So that whoever opens connections here cannot use up the descriptors that clients need. */
const CONNECTIONS = 256;

export interface AdminAnswer {
  readonly status: number;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Answers GET and HEAD of one exact path. */
export interface AdminRoute {
  readonly path: string;
  handle(request: IncomingMessage): AdminAnswer | Promise<AdminAnswer>;
}

export interface AdminOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly readiness: () => Readiness;
  readonly metrics: Pick<Metrics, 'contentType' | 'text'>;
  readonly log: Log;
  /** Beside /livez, /readyz, /startupz and /metrics. */
  readonly routes?: readonly AdminRoute[];
}

export interface Admin {
  /** Rejects when the address cannot be listened on. */
  listen(): Promise<{ readonly host: string; readonly port: number }>;
  /** Stops listening and ends the connections that are left, requests in progress included. */
  close(): Promise<void>;
}

/** The HTTP server for probes and metrics, on its own port: it answers while the public listener drains. */
export function createAdmin(options: AdminOptions): Admin {
  const routes = new Map([...probes(options), ...(options.routes ?? [])].map((route) => [route.path, route]));
  const server = createServer(LIMITS, (request, response) => {
    void respond(routes, request, response, options.log);
  });
  server.maxConnections = CONNECTIONS;
  server.setTimeout(SILENCE_MS);
  server.on('clientError', refuseGarbage);
  // Also when accepting fails because descriptors have run out: unheard, the event would end the process.
  server.on('error', (error) => options.log.error({ err: error }, 'the admin listener failed'));
  return {
    listen: () => listen(server, options.host, options.port),
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)));
        server.closeAllConnections();
      }),
  };
}

function probes({ readiness, metrics }: AdminOptions): readonly AdminRoute[] {
  return [
    { path: '/livez', handle: () => json(200, { status: 'alive' }) },
    {
      path: '/readyz',
      handle: () => {
        const verdict = readiness();
        return json(verdict.status === 'ready' ? 200 : 503, verdict);
      },
    },
    {
      path: '/startupz',
      handle: () => {
        const started = readiness().status !== 'starting';
        return json(started ? 200 : 503, { status: started ? 'started' : 'starting' });
      },
    },
    {
      path: '/metrics',
      handle: async () => ({ status: 200, type: metrics.contentType, body: await metrics.text() }),
    },
  ];
}

export function json(status: number, value: object): AdminAnswer {
  return { status, body: `${JSON.stringify(value)}\n` };
}

async function respond(
  routes: ReadonlyMap<string, AdminRoute>,
  request: IncomingMessage,
  response: ServerResponse,
  log: Log,
): Promise<void> {
  try {
    write(request, response, await answer(routes, request));
  } catch (error) {
    log.error({ err: error, path: pathOf(request) }, 'an admin request failed');
    if (response.headersSent) response.destroy();
    else
      write(
        request,
        response,
        json(500, { code: 'internal', reason: 'the server failed; the log has the cause' }),
      );
  }
}

function answer(
  routes: ReadonlyMap<string, AdminRoute>,
  request: IncomingMessage,
): AdminAnswer | Promise<AdminAnswer> {
  const route = routes.get(pathOf(request));
  if (route === undefined) return json(404, { code: 'not_found', reason: 'there is nothing at this path' });
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    const refusal = json(405, { code: 'method_not_allowed', reason: 'only GET and HEAD are answered here' });
    return { ...refusal, headers: { allow: 'GET, HEAD' } };
  }
  return route.handle(request);
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?', 1)[0] ?? '/';
}

function write(request: IncomingMessage, response: ServerResponse, answered: AdminAnswer): void {
  // Nothing here reads a body. Ending the connection keeps Node from taking in an endless one after the answer.
  const hasBody =
    request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
  response.writeHead(answered.status, {
    'content-type': answered.type ?? 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(answered.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(hasBody ? { connection: 'close' } : {}),
    ...answered.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : answered.body);
}

/** Bytes that are no HTTP request, a head over the limits, or none in time. */
function refuseGarbage(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = GARBAGE_STATUS[error.code ?? ''] ?? '400 Bad Request';
  const body = `${JSON.stringify({ code: 'bad_request', reason: 'this is not a request that can be read' })}\n`;
  socket.end(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
}

const GARBAGE_STATUS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

function listen(server: Server, host: string, port: number): Promise<{ host: string; port: number }> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.removeListener('error', reject);
      const address = server.address();
      if (address === null || typeof address === 'string')
        throw new Error('a TCP listener has a host and a port');
      resolve({ host: address.address, port: address.port });
    });
  });
}
