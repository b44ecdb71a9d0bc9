/** The part of the browser's WebSocket that the SDK uses; the package `ws` has it too. */
export interface WebSocketLike {
  binaryType: string;
  readonly protocol: string;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

export function webSocketClass(given: WebSocketConstructor | undefined): WebSocketConstructor {
  const found = given ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (found !== undefined) return found;
  throw new Error(
    'carillon: this runtime has no global WebSocket (Node before 22). ' +
      "Install the package `ws` and pass its class: import { WebSocket } from 'ws'; connect(url, { token, webSocket: WebSocket })",
  );
}

/** Accepts http(s) for ws(s), paths relative to the page, and a bare host for its `/connect`. */
export function connectUrl(given: string): string {
  const base = (globalThis as { location?: { href: string } }).location?.href;
  const url = new URL(given, base);
  if (url.protocol === 'http:') url.protocol = 'ws:';
  if (url.protocol === 'https:') url.protocol = 'wss:';
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:')
    throw new TypeError(`carillon: ${given} is not a ws, wss, http or https address`);
  if (url.pathname === '/') url.pathname = '/connect';
  return url.href;
}
