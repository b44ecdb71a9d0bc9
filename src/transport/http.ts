import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js';
import type { Log } from '../broker/ports.ts';
import { problem, type WebAnswer, type WebHandler, type WebRequest } from '../broker/web.ts';

const STATUS_TEXT: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  426: 'Upgrade Required',
  500: 'Internal Server Error',
};

const NOT_FOUND = problem(404, 'not_found', 'there is nothing at this address');
const FAILED = problem(500, 'internal', 'the server failed; the log has the cause');

/** Has every request that is not a WebSocket handshake answered, whatever the handler does. */
export function serveHttp(app: TemplatedApp, handler: WebHandler, log: Log): void {
  app.any('/*', (response, request) => {
    const copied = copy(request);
    let aborted = false;
    // Before anything can fail: a handler that returns without an answer or this ends the process (rule 4).
    response.onAborted(() => {
      aborted = true;
    });
    const respond = (answer: WebAnswer) => {
      if (!aborted) write(response, answer, copied.method === 'HEAD');
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

function copy(request: HttpRequest): WebRequest {
  const headers = new Map<string, string>();
  request.forEach((name, value) => {
    headers.set(name, value);
  });
  const query = new URLSearchParams(request.getQuery());
  return {
    method: request.getCaseSensitiveMethod().toUpperCase(),
    path: request.getUrl(),
    query: (name) => query.get(name) ?? undefined,
    header: (name) => headers.get(name) ?? '',
  };
}

function write(response: HttpResponse, answer: WebAnswer, headOnly: boolean): void {
  response.cork(() => {
    response.writeStatus(`${answer.status} ${STATUS_TEXT[answer.status] ?? 'Status'}`);
    for (const [name, value] of Object.entries(answer.headers ?? {})) response.writeHeader(name, value);
    // A body in the answer to HEAD would be taken for the start of the next answer.
    if (headOnly) response.endWithoutBody(Buffer.byteLength(answer.body), false);
    else response.end(answer.body);
  });
}
