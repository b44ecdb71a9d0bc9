import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js';
import type { Log } from '../broker/ports.ts';
import { HEALTH_PATH, problem, type WebAnswer, type WebHandler, type WebRequest } from '../broker/web.ts';
import { addressOf, clientAddress } from './address.ts';
import { Head } from './head.ts';
import type { Listener } from './listener.ts';
import { REFUSALS, refuse } from './refusal.ts';
import { hasCertificate, NO_CERTIFICATE } from './tls.ts';

const STATUS_TEXT: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Content Too Large',
  422: 'Unprocessable Content',
  426: 'Upgrade Required',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

const NOT_FOUND = problem(404, 'not_found', 'there is nothing at this address');
const FAILED = problem(500, 'internal', 'the server failed; the log has the cause');

export interface HttpParts {
  readonly log: Log;
  /** Only requests that come with a client certificate, but for the health of a balancer, which has none. */
  readonly certified: boolean;
  /** So many proxies in front are believed about the client's address. */
  readonly proxyHops: number;
  readonly sockets: Pick<Listener, 'plain' | 'pressed'>;
}

/** Has every request that is not a WebSocket handshake answered, whatever the handler does. */
export function serveHttp(app: TemplatedApp, handler: WebHandler, parts: HttpParts): void {
  const { log, certified, proxyHops, sockets } = parts;
  app.any('/*', (response, request) => {
    const head = new Head(request);
    const remote = addressOf(response.getRemoteAddressAsText());
    if (head.ambiguous) {
      response.close();
      return sockets.plain.settled(remote);
    }
    sockets.plain.active(remote);
    if (certified && request.getUrl() !== HEALTH_PATH && !hasCertificate(response))
      return refuse(response, REFUSALS.forbidden(NO_CERTIFICATE));
    const copied = copy(request, head, response, {
      remote,
      proxyHops,
      heard: () => sockets.plain.active(remote),
    });
    let aborted = false;
    // Before anything can fail: a handler that returns without an answer or this ends the process (rule 4).
    response.onAborted(() => {
      aborted = true;
    });
    const respond = (answer: WebAnswer) => {
      if (aborted) return;
      // Kept alive only while there is room for others.
      const close = sockets.pressed;
      if (close) sockets.plain.settled(remote);
      write(response, answer, copied.method === 'HEAD', close);
    };
    const failed = (error: unknown) => {
      log.error({ err: error, path: copied.path }, 'HTTP request failed');
      respond(FAILED);
    };
    try {
      const answer = handler(copied);
      if (answer instanceof Promise) answer.then((late) => respond(late ?? NOT_FOUND)).catch(failed);
      else respond(answer ?? NOT_FOUND);
    } catch (error) {
      failed(error);
    }
  });
}

interface Peer {
  readonly remote: string;
  readonly proxyHops: number;
  /** A piece of the body has come. */
  readonly heard: () => void;
}

function copy(request: HttpRequest, head: Head, response: HttpResponse, peer: Peer): WebRequest {
  const query = new URLSearchParams(request.getQuery());
  return {
    method: request.getCaseSensitiveMethod().toUpperCase(),
    path: request.getUrl(),
    query: (name) => query.get(name) ?? undefined,
    queries: () => Object.fromEntries(query),
    // All lines: so a second Authorization makes both of no use, where a proxy may have checked the one and we would
    // have taken the other.
    header: (name) => head.all(name),
    address: clientAddress(peer.remote, head.all('x-forwarded-for'), peer.proxyHops),
    body: (maxBytes) => collect(response, maxBytes, peer.heard),
  };
}

/** uWS detaches each piece after the call, and throws away a body that nobody listens for. */
function collect(
  response: HttpResponse,
  maxBytes: number,
  heard: () => void,
): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    response.onData((piece, isLast) => {
      heard();
      bytes += piece.byteLength;
      if (bytes <= maxBytes) pieces.push(Buffer.from(new Uint8Array(piece)));
      else pieces.length = 0;
      if (isLast || bytes > maxBytes) resolve(bytes > maxBytes ? undefined : Buffer.concat(pieces));
    });
  });
}

function write(response: HttpResponse, answer: WebAnswer, headOnly: boolean, close: boolean): void {
  response.cork(() => {
    response.writeStatus(`${answer.status} ${STATUS_TEXT[answer.status] ?? 'Status'}`);
    for (const [name, value] of Object.entries(answer.headers ?? {})) response.writeHeader(name, value);
    // A body in the answer to HEAD would be taken for the start of the next answer.
    if (headOnly) response.endWithoutBody(Buffer.byteLength(answer.body), close);
    else response.end(answer.body, close);
  });
}
