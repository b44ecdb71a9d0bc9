/** One call of the server or admin API: what it takes, what it gives, who may make it. */
import type { z } from 'zod';

/** `admin`: the admin listener; `api`: backends, on the public listener. */
export type Scope = 'admin' | 'api';

/** Who makes a call, as its credential says. */
export interface Caller {
  /** For the audit log: "admin token", or the token's subject. */
  readonly name: string;
  /** The caller is bound to this tenant; undefined: it names one, or means all. */
  readonly tenant?: string;
}

export interface Call<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly caller: Caller;
  /** The field `payload` of the body, as JSON text to the letter. */
  readonly payload?: string | undefined;
  /** W3C Trace Context of the request; one that cannot be read is as none. */
  readonly traceparent?: string | undefined;
}

/** `code` as in protocol/codes.ts where one fits. */
export interface Refused {
  readonly status: number;
  readonly code: string;
  readonly reason: string;
  readonly retryAfterMs?: number;
}

/** `text`: the answer as JSON, where it has parts that must not be parsed and written anew. */
export type Reply = { readonly answer: object; readonly text?: string } | { readonly refused: Refused };

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With parameters in braces: /admin/v1/bans/{id}. */
  readonly path: string;
  readonly scope: Scope;
  readonly summary: string;
  readonly params?: z.ZodType | undefined;
  readonly query?: z.ZodType | undefined;
  readonly body?: z.ZodType | undefined;
  /** For the description; what is given is the handler's word. */
  readonly answer: z.ZodType;
  /** Changes nothing: kept out of the audit log. GET never is in it. */
  readonly reads?: boolean;
  readonly handle: (call: Call<unknown, unknown, unknown>) => Reply | Promise<Reply>;
}

type Out<Schema> = Schema extends z.ZodType ? z.output<Schema> : undefined;
type Schema = z.ZodType | undefined;

/** Ties the handler's types to the schemas. */
export function route<P extends Schema, Q extends Schema, B extends Schema>(
  definition: Omit<Route, 'handle' | 'params' | 'query' | 'body'> & {
    readonly params?: P;
    readonly query?: Q;
    readonly body?: B;
    readonly handle: (call: Call<Out<P>, Out<Q>, Out<B>>) => Reply | Promise<Reply>;
  },
): Route {
  return definition as unknown as Route;
}

export function refused(status: number, code: string, reason: string, retryAfterMs?: number): Reply {
  return { refused: { status, code, reason, ...(retryAfterMs !== undefined && { retryAfterMs }) } };
}

/** The HTTP status for each error code that a bus or a limit gives. */
const STATUS: Readonly<Record<string, number>> = {
  bad_frame: 400,
  bad_room: 400,
  payload_too_large: 413,
  schema_violation: 422,
  forbidden: 403,
  rate_limited: 429,
  quota_exceeded: 429,
  unavailable: 503,
  overloaded: 503,
};

export function refusedBy(fault: {
  readonly code: string;
  readonly reason: string;
  readonly retryAfterMs?: number;
}): Reply {
  return refused(STATUS[fault.code] ?? 500, fault.code, fault.reason, fault.retryAfterMs);
}
