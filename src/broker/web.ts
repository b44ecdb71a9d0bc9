/** Plain HTTP on the public listener, as the API sees it: the transport carries it, and neither knows the other. */

export interface WebRequest {
  readonly method: string;
  readonly path: string;
  query(name: string): string | undefined;
  /** Empty when absent. */
  header(name: string): string;
}

export interface WebAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

/** Answers a request, or leaves it (undefined: 404). */
export type WebHandler = (request: WebRequest) => WebAnswer | undefined | Promise<WebAnswer | undefined>;

/** The one shape of every error on HTTP. */
export function problem(status: number, code: string, reason: string): WebAnswer {
  return {
    status,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ code, reason }),
  };
}
