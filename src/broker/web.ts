/** Plain HTTP, as the API sees it: the listeners carry it, and neither knows the other. */

export interface WebRequest {
  readonly method: string;
  readonly path: string;
  query(name: string): string | undefined;
  /** All of them; of a name given twice the last. */
  queries(): Readonly<Record<string, string>>;
  /** Empty when absent. */
  header(name: string): string;
  /** The client's address as text. */
  readonly address: string;
  /**
   * The whole body. To be called in the turn in which the handler was, once at most; undefined: it is longer, and
   * the rest is thrown away. Never resolves when the client goes away.
   */
  body(maxBytes: number): Promise<Uint8Array | undefined>;
}

export interface WebAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

/** Answers a request, or leaves it (undefined: 404). */
export type WebHandler = (request: WebRequest) => WebAnswer | undefined | Promise<WebAnswer | undefined>;

/** The one shape of every error on HTTP. */
export function problem(
  status: number,
  code: string,
  reason: string,
  headers?: Readonly<Record<string, string>>,
): WebAnswer {
  return {
    status,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify({ code, reason }),
  };
}

/** On the public listener: whether a balancer should send clients here. */
export const HEALTH_PATH = '/healthz';
