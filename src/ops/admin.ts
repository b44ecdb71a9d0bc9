import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Log } from '../broker/ports.ts';
import type { WebAnswer, WebHandler, WebRequest } from '../broker/web.ts';
import { keepRoom } from './admin-sockets.ts';
import type { Verdict } from './health.ts';
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

/** What answers GET and HEAD of one exact path. */
type Probe = () => WebAnswer | Promise<WebAnswer>;

export interface AdminOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly readiness: () => Verdict;
  readonly metrics: Pick<Metrics, 'contentType' | 'text'>;
  readonly log: Log;
  /** Beside /livez, /readyz, /startupz and /metrics. */
  readonly web?: WebHandler;
}

export interface Admin {
  /** Rejects when the address cannot be listened on. */
  listen(): Promise<{ readonly host: string; readonly port: number }>;
  /** Stops listening and ends the connections that are left, requests in progress included. */
  close(): Promise<void>;
}

/** The HTTP server for probes, metrics and the admin API, on its own port: it answers while the public listener drains. */
export function createAdmin(options: AdminOptions): Admin {
  const probes = probesOf(options);
  const server = createServer(LIMITS, (request, response) => {
    void respond(probes, options, request, response);
  });
  keepRoom(server, CONNECTIONS);
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

function probesOf({ readiness, metrics }: AdminOptions): ReadonlyMap<string, Probe> {
  return new Map<string, Probe>([
    ['/livez', () => json(200, { status: 'alive' })],
    [
      '/readyz',
      () => {
        const verdict = readiness();
        return json(verdict.status === 'ready' ? 200 : 503, verdict);
      },
    ],
    [
      '/startupz',
      () => {
        const started = readiness().status !== 'starting';
        return json(started ? 200 : 503, { status: started ? 'started' : 'starting' });
      },
    ],
    [
      '/metrics',
      async () => ({
        status: 200,
        headers: { 'Content-Type': metrics.contentType },
        body: await metrics.text(),
      }),
    ],
  ]);
}

export function json(status: number, value: object): WebAnswer {
  return {
    status,
    headers: { 'Content-Type': 'application/json; charset=utf-8' },
    body: `${JSON.stringify(value)}\n`,
  };
}

async function respond(
  probes: ReadonlyMap<string, Probe>,
  { web, log }: AdminOptions,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const request = requestOf(incoming);
  try {
    const probe = probes.get(request.path);
    const answer = probe === undefined ? await web?.(request) : await probed(probe, request);
    write(incoming, response, answer ?? NOT_FOUND);
  } catch (error) {
    log.error({ err: error, path: request.path }, 'an admin request failed');
    if (response.headersSent) response.destroy();
    else write(incoming, response, FAILED);
  }
}

const NOT_FOUND = json(404, { code: 'not_found', reason: 'there is nothing at this path' });
const FAILED = json(500, { code: 'internal', reason: 'the server failed; the log has the cause' });

function probed(probe: Probe, { method }: WebRequest): WebAnswer | Promise<WebAnswer> {
  if (method === 'GET' || method === 'HEAD') return probe();
  const refusal = json(405, { code: 'method_not_allowed', reason: 'only GET and HEAD are answered here' });
  return { ...refusal, headers: { ...refusal.headers, Allow: 'GET, HEAD' } };
}

function requestOf(incoming: IncomingMessage): WebRequest {
  const [path = '/', search = ''] = (incoming.url ?? '/').split('?', 2);
  const query = new URLSearchParams(search);
  return {
    method: incoming.method ?? 'GET',
    path,
    query: (name) => query.get(name) ?? undefined,
    queries: () => Object.fromEntries(query),
    // Not `headers`, which has the first Authorization alone: two of them are a list, and no credential.
    header: (name) => incoming.headersDistinct[name]?.join(', ') ?? '',
    address: incoming.socket.remoteAddress ?? '',
    body: (maxBytes) => collect(incoming, maxBytes),
  };
}

function collect(incoming: IncomingMessage, maxBytes: number): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    incoming.on('data', (piece: Buffer) => {
      bytes += piece.byteLength;
      if (bytes <= maxBytes) pieces.push(piece);
      else resolve(undefined);
    });
    incoming.on('end', () => resolve(Buffer.concat(pieces)));
  });
}

function write(incoming: IncomingMessage, response: ServerResponse, answer: WebAnswer): void {
  response.writeHead(answer.status, {
    'content-length': Buffer.byteLength(answer.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    // A body that was not read to its end: closing keeps Node from taking in an endless one after the answer.
    ...(incoming.complete ? {} : { connection: 'close' }),
    ...lowerCased(answer.headers),
  });
  response.end(incoming.method === 'HEAD' ? undefined : answer.body);
}

function lowerCased(headers: WebAnswer['headers'] = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
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
