/** One call of the server or admin API: what it takes, what it gives, who may make it. */
import type { z } from 'zod';
import type { Scope } from '../../broker/ports.ts';

export type { Scope } from '../../broker/ports.ts';

/** Who makes a call, as its credential says. */
export interface Caller {
  /** The operator's `admin.token`, or a JWT. What the caller may do depends on this, never on its name. */
  readonly kind: 'admin_token' | 'token';
  /** For the audit log: "admin token", or the token's subject. */
  readonly name: string;
  /** Of the token. On the server API the caller is bound to it. */
  readonly tenant?: string;
  /** On the admin API: it may act in these tenants only, since its issuer is restricted to them. */
  readonly tenants?: readonly string[];
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
  /**
   * Of an admin call: the tenant that it is about, for callers that may act in some tenants only. `handler`: it looks
   * for itself. Absent: the call is about the whole installation, and they may not make it.
   */
  readonly tenantOf?: 'handler' | ((call: Call<unknown, unknown, unknown>) => string | undefined);
  readonly handle: (call: Call<unknown, unknown, unknown>) => Reply | Promise<Reply>;
}

type Out<Schema> = Schema extends z.ZodType ? z.output<Schema> : undefined;
type Schema = z.ZodType | undefined;

/** Ties the handler's types to the schemas. */
export function route<P extends Schema, Q extends Schema, B extends Schema>(
  definition: Omit<Route, 'handle' | 'tenantOf' | 'params' | 'query' | 'body'> & {
    readonly params?: P;
    readonly query?: Q;
    readonly body?: B;
    readonly tenantOf?: 'handler' | ((call: Call<Out<P>, Out<Q>, Out<B>>) => string | undefined);
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
