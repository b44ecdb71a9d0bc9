import type { HttpRequest } from 'uWebSockets.js';

const ONCE: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding', 'host']);

/**
 * A header that says where the request ends, or for whom it is, stands there twice. uWebSockets.js goes by the first:
 * behind a proxy that goes by another one, what follows would be a request that the proxy has not seen (RFC 9112,
 * sections 3.2 and 6.3). Such a connection has to be ended with `close`, for after an answer with `Connection: close`
 * uWebSockets.js serves what came in the same segment all the same.
 */
export function isAmbiguous(request: HttpRequest): boolean {
  const seen = new Set<string>();
  let twice = false;
  request.forEach((name) => {
    if (!ONCE.has(name)) return;
    if (seen.has(name)) twice = true;
    seen.add(name);
  });
  return twice;
}
