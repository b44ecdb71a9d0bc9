/** Finds the route of a request, lets the caller in, checks what it sent, and writes the answer. */
import { z } from 'zod';
import type { Log } from '../../broker/ports.ts';
import { problem, type WebAnswer, type WebRequest } from '../../broker/web.ts';
import type { DecodeLimits } from '../../protocol/inbound.ts';
import { overflowIn } from '../../protocol/numbers.ts';
import { type PayloadSpan, scanJson } from '../../protocol/scan.ts';
import { isTraceparent } from '../../protocol/traceparent.ts';
import { outOfRangeReason } from '../../protocol/validate.ts';
import type { Admission, Callers } from './callers.ts';
import { PathTree } from './paths.ts';
import { type Call, type Caller, type Refused, type Reply, type Route, refused } from './route.ts';

export interface RouterParts {
  readonly routes: readonly Route[];
  readonly callers: Callers;
  readonly bodyBytes: number;
  /** What a body may hold, as a client's frame. */
  readonly limits: Pick<DecodeLimits, 'depth' | 'keys'>;
  readonly log: Log;
  /** Too many credentials from this address were refused. */
  readonly suspect: (address: string) => boolean;
  /** A credential was refused; milliseconds to wait when there were too many from this address, else 0. */
  readonly failed: (address: string) => number;
  readonly counted: (route: Route, status: number) => void;
}

export class Router {
  readonly #parts: RouterParts;
  readonly #tree: PathTree;

  constructor(parts: RouterParts) {
    this.#parts = parts;
    this.#tree = new PathTree(parts.routes);
  }

  /** undefined: not an address of this API. */
  answer(request: WebRequest): Promise<WebAnswer> | WebAnswer | undefined {
    const found = this.#tree.find(request.path);
    if (found === undefined) return undefined;
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    const route = found.routes.find((candidate) => candidate.method === method);
    if (route === undefined) {
      const allow = found.routes.map((candidate) => candidate.method).join(', ');
      return problem(405, 'bad_request', `this address takes ${allow}`, { Allow: allow });
    }
    // Asked for in this turn: the listener keeps no bytes that nobody has asked for.
    const body = route.body === undefined ? undefined : request.body(this.#parts.bodyBytes);
    return this.#serve(route, found.params, request, body);
  }

  async #serve(
    route: Route,
    params: Readonly<Record<string, string>>,
    request: WebRequest,
    body: Promise<Uint8Array | undefined> | undefined,
  ): Promise<WebAnswer> {
    const { address } = request;
    const asked = { authorization: request.header('authorization'), address };
    const suspect = this.#parts.suspect(address);
    const admission: Admission = await this.#parts.callers.admit({ ...asked, suspect }, route.scope);
    if ('refused' in admission) {
      // No verdict is no failure of the caller's.
      const waitMs = admission.refused.status === 503 ? 0 : this.#parts.failed(address);
      return this.#written(route, waitMs > 0 ? tooMany(waitMs) : admission);
    }
    const call = await this.#parsed(route, params, request, body);
    if ('refused' in call) return this.#written(route, call);
    // The body can be sent as slowly as one likes: a ban or a revocation may have come meanwhile.
    const gone = admission.still();
    if (gone !== undefined) return this.#written(route, { refused: gone });
    const traceparent = traceparentOf(request);
    const whole = { ...call, caller: admission.caller, traceparent };
    const reply = outside(route, whole) ?? (await this.#handled(route, whole));
    if (route.method !== 'GET' && route.reads !== true)
      this.#audit(route, admission.caller, address, call, reply);
    return this.#written(route, reply);
  }

  async #parsed(
    route: Route,
    params: Readonly<Record<string, string>>,
    request: WebRequest,
    body: Promise<Uint8Array | undefined> | undefined,
  ): Promise<Parsed | { readonly refused: Refused }> {
    const bytes = await body;
    if (body !== undefined && bytes === undefined) {
      const reason = `the body is longer than ${this.#parts.bodyBytes} bytes`;
      return { refused: { status: 413, code: 'payload_too_large', reason } };
    }
    const json = bytes === undefined ? NO_BODY : readBody(bytes, this.#limitsOf(route));
    if ('refused' in json) return json;
    const checked = z
      .object({ path: route.params ?? IGNORED, query: route.query ?? IGNORED, body: route.body ?? IGNORED })
      .safeParse({ path: params, query: request.queries(), body: json.value });
    if (!checked.success) return bad(firstProblem(checked.error));
    const { path, query, body: value } = checked.data;
    return { params: path, query, body: value, payload: json.payload };
  }

  /** Operators hand over long policies. */
  #limitsOf({ scope }: Route): DecodeLimits {
    const { depth, keys } = this.#parts.limits;
    return { ...UNBOUNDED, depth, keys: scope === 'admin' ? Number.POSITIVE_INFINITY : keys };
  }

  async #handled(route: Route, call: Call<unknown, unknown, unknown>): Promise<Reply> {
    try {
      return await route.handle(call);
    } catch (error) {
      this.#parts.log.error({ err: error, route: route.path }, 'a call of the API has failed');
      const reason = 'the server failed; the log has the cause';
      return { refused: { status: 500, code: 'internal', reason } };
    }
  }

  #audit(route: Route, caller: Caller, address: string, call: Parsed, reply: Reply): void {
    const outcome = 'refused' in reply ? reply.refused.code : 'ok';
    const { params, query, body } = call;
    const what = { ...asObject(params), ...asObject(query), ...asObject(body) };
    // What is published is the tenants' business; tokens are masked by the log itself.
    const { payload: _payload, ...noted } = what as Record<string, unknown>;
    const { kind, name, tenant } = caller;
    const by = { caller: name, callerKind: kind, ...(tenant !== undefined && { callerTenant: tenant }) };
    this.#parts.log.info(
      { audit: true, call: `${route.method} ${route.path}`, ...by, address, noted, outcome },
      'API call',
    );
  }

  #written(route: Route, reply: Reply): WebAnswer {
    return written(reply, (status) => this.#parts.counted(route, status));
  }
}

interface Parsed {
  readonly payload: string | undefined;
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}

/** Why a caller that may act in some tenants only may not make this call. */
function outside(route: Route, call: Call<unknown, unknown, unknown>): Reply | undefined {
  const { tenants } = call.caller;
  if (tenants === undefined || route.tenantOf === 'handler') return undefined;
  const only = `the issuer of the token is restricted to the tenants ${tenants.join(', ')}`;
  if (route.tenantOf === undefined)
    return refused(403, 'forbidden', `this call is about the whole installation, and ${only}`);
  const tenant = route.tenantOf(call);
  if (tenant === undefined) return refused(403, 'forbidden', `name a tenant: ${only}`);
  return tenants.includes(tenant) ? undefined : refused(403, 'forbidden', only);
}

function traceparentOf(request: WebRequest): string | undefined {
  const header = request.header('traceparent');
  return isTraceparent(header) ? header : undefined;
}

const IGNORED = z.unknown();
const JSON_HEADERS = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' };

function written(reply: Reply, counted: (status: number) => void): WebAnswer {
  if ('answer' in reply) {
    counted(200);
    return { status: 200, headers: JSON_HEADERS, body: reply.text ?? JSON.stringify(reply.answer) };
  }
  const { status, code, reason, retryAfterMs } = reply.refused;
  counted(status);
  return problem(status, code, reason, {
    'Cache-Control': 'no-store',
    ...(status === 401 && { 'WWW-Authenticate': 'Bearer' }),
    ...(retryAfterMs !== undefined && { 'Retry-After': String(Math.ceil(retryAfterMs / 1000)) }),
  });
}

function tooMany(retryAfterMs: number): Reply {
  const reason = 'too many refused credentials from this address';
  return { refused: { status: 429, code: 'rate_limited', reason, retryAfterMs } };
}

function bad(reason: string, code = 'bad_request'): { readonly refused: Refused } {
  return { refused: { status: 400, code, reason } };
}

const UNBOUNDED = {
  frameBytes: Number.POSITIVE_INFINITY,
  payloadBytes: Number.POSITIVE_INFINITY,
  batch: Number.POSITIVE_INFINITY,
};

interface Body {
  readonly value: unknown;
  readonly payload: string | undefined;
}

const NO_BODY: Body = { value: undefined, payload: undefined };
const EMPTY_BODY: Body = { value: {}, payload: undefined };

/** Its payload is cut out as it stands there: parsed and written anew, large numbers would be others. */
function readBody(bytes: Uint8Array, limits: DecodeLimits): Body | { readonly refused: Refused } {
  if (bytes.byteLength === 0) return EMPTY_BODY;
  const scan = scanJson(bytes, limits);
  if (scan.type === 'fault') return bad(scan.reason, scan.code === 'bad_json' ? undefined : scan.code);
  try {
    const utf8 = new TextDecoder('utf-8', { fatal: true });
    const value: unknown = JSON.parse(utf8.decode(bytes));
    const span = scan.type === 'object' ? scan.spans[0] : undefined;
    return span === undefined || span.from < 0
      ? { value, payload: undefined }
      : withPayload(value, bytes, span);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return bad('the body is not JSON');
    throw error;
  }
}

function withPayload(value: unknown, bytes: Uint8Array, { from, to, unclear }: PayloadSpan) {
  if (unclear !== undefined) return bad(unclear, 'bad_frame');
  const payload = Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString();
  const overflow = overflowIn(payload);
  return overflow === undefined ? { value, payload } : bad(outOfRangeReason(overflow), 'bad_frame');
}

function firstProblem(error: z.ZodError): string {
  const [issue] = error.issues;
  const [part, ...path] = issue?.path ?? [];
  const where = path.length === 0 ? String(part) : path.join('.');
  return `${where}: ${issue?.message ?? 'is wrong'}`;
}

function asObject(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {};
}
