/** An OTLP/HTTP receiver of traces, as far as the JSON encoding goes. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

export interface Span {
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** 2: an error. */
  readonly status: number;
  readonly durationNs: bigint;
  /** service.instance.id */
  readonly node: string;
}

export interface Collector {
  /** Of the settings. */
  readonly endpoint: string;
  readonly spans: readonly Span[];
  readonly authorizations: ReadonlySet<string | undefined>;
  /** The spans of a trace, once there are so many. Throws after 10 s. */
  trace(traceId: string, count: number): Promise<readonly Span[]>;
  close(): Promise<void>;
}

/** @param status of every answer */
export async function startCollector(status = 200): Promise<Collector> {
  const spans: Span[] = [];
  const authorizations = new Set<string | undefined>();
  const server = createServer(async (request, response) => {
    authorizations.add(request.headers.authorization);
    if (status === 200) spans.push(...spansOf((await json(request)) as Exported));
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const trace: Collector['trace'] = async (traceId, count) => {
    for (let left = 1000; left > 0; left--) {
      const found = spans.filter((span) => span.traceId === traceId);
      if (found.length >= count) return found;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`fewer than ${count} spans of the trace ${traceId} after 10 s`);
  };
  return {
    endpoint: `http://127.0.0.1:${port}/v1/traces`,
    spans,
    authorizations,
    trace,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** An ExportTraceServiceRequest. */
interface Exported {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly RawSpan[] }[];
  }[];
}

interface RawSpan extends Omit<Span, 'attributes' | 'status' | 'node' | 'parentSpanId'> {
  readonly parentSpanId?: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code: number };
  readonly attributes: readonly Attribute[];
}

function spansOf({ resourceSpans }: Exported): Span[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const node = String(valuesOf(resource.attributes)['service.instance.id']);
    return scopeSpans.flatMap((scope) => scope.spans.map((span) => spanOf(span, node)));
  });
}

function spanOf(raw: RawSpan, node: string): Span {
  const { name, kind, traceId, spanId, parentSpanId = '' } = raw;
  const durationNs = BigInt(raw.endTimeUnixNano) - BigInt(raw.startTimeUnixNano);
  const status = raw.status.code;
  return {
    name,
    kind,
    traceId,
    spanId,
    parentSpanId,
    status,
    durationNs,
    node,
    attributes: valuesOf(raw.attributes),
  };
}

function valuesOf(attributes: readonly Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
