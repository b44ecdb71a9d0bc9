/**
 * Spans of publishes and deliveries, exported by OTLP over HTTP. Loaded only where the settings ask for it: the packages
 * take 17 MB, and no other file may import them.
 */
import {
  type Context,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  type ReadableSpan,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-base';
import type { RoomEvent } from '../broker/event.ts';
import type { Accepted, Fault, Log, RoomRef } from '../broker/ports.ts';
import type { PublishSpan, Tracing, TracingSettings } from '../broker/tracing.ts';
import type { SpanCounts } from './spans.ts';

/** The end of the process waits no longer for the last spans. */
const CLOSE_MS = 2000;
const EXPORT_BATCH = 512;
const WINDOW_MS = 1000;

export interface TracingParts {
  readonly settings: TracingSettings;
  readonly serverId: string;
  readonly version: string;
  readonly log: Log;
  readonly counts: SpanCounts;
  readonly nowMs: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
}

export class OtlpTracing implements Tracing {
  readonly #parts: TracingParts;
  readonly #provider: BasicTracerProvider;
  readonly #tracer: Tracer;
  readonly #arrivals = new Map<RoomEvent, Span>();
  #windowEnds = 0;
  #left = 0;

  constructor(parts: TracingParts) {
    const { settings, serverId, version } = parts;
    this.#parts = parts;
    this.#provider = new BasicTracerProvider({
      resource: resourceFromAttributes({
        'service.name': 'carillon',
        'service.version': version,
        'service.instance.id': serverId,
      }),
      // Whether a publish is followed is decided before a span is made.
      sampler: new AlwaysOnSampler(),
      spanProcessors: [
        new BatchSpanProcessor(counted(exporterOf(settings), parts), {
          maxQueueSize: Math.max(EXPORT_BATCH, settings.queue),
          maxExportBatchSize: EXPORT_BATCH,
          scheduledDelayMillis: settings.exportMs,
          exportTimeoutMillis: settings.timeoutMs,
        }),
      ],
    });
    this.#tracer = this.#provider.getTracer('carillon', version);
  }

  get arriving(): number {
    return this.#arrivals.size;
  }

  publish(room: RoomRef, payload: string, traceparent: string | undefined): PublishSpan | undefined {
    if (!this.#follows(traceparent)) return undefined;
    const span = this.#begin('publish', SpanKind.PRODUCER, room, traceparent);
    span.setAttribute('messaging.message.body.size', Buffer.byteLength(payload));
    return { traceparent: textOf(span.spanContext()), end: (outcome) => this.#end(span, outcome) };
  }

  arrived(room: RoomRef, event: RoomEvent): void {
    const { traceparent } = event;
    if (traceparent === undefined || !isSampled(traceparent) || !this.#mayBegin()) return;
    this.#arrivals.set(event, this.#begin('deliver', SpanKind.CONSUMER, room, traceparent));
  }

  delivered(event: RoomEvent, receivers: number): void {
    const span = this.#arrivals.get(event);
    if (span === undefined) return;
    this.#arrivals.delete(event);
    if (!event.ephemeral) span.setAttribute('carillon.seq', event.seq);
    span.setAttribute('carillon.receivers', receivers);
    this.#finish(span);
  }

  /** Exports what is left, for as long as an end of the process can wait. */
  async close(): Promise<void> {
    const late = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_MS).unref());
    const done = this.#provider.shutdown().catch((error: unknown) => {
      this.#parts.log.warn({ err: error }, 'the last spans were not exported');
    });
    await Promise.race([done, late]);
  }

  /** Head sampling: what the publisher decided, and a share of those that did not. */
  #follows(traceparent: string | undefined): boolean {
    const { random, settings } = this.#parts;
    const wanted = traceparent === undefined ? random() < settings.sample : isSampled(traceparent);
    return wanted && this.#mayBegin();
  }

  #mayBegin(): boolean {
    const { nowMs, settings, counts } = this.#parts;
    const now = nowMs();
    if (now >= this.#windowEnds) {
      this.#windowEnds = now + WINDOW_MS;
      this.#left = settings.perSecond;
    }
    if (this.#left > 0) {
      this.#left--;
      return true;
    }
    counts.limited++;
    return false;
  }

  #begin(name: string, kind: SpanKind, room: RoomRef, traceparent: string | undefined): Span {
    const attributes = {
      'messaging.system': 'carillon',
      'messaging.operation.name': name,
      'messaging.destination.name': room.name,
      'carillon.tenant': room.tenant,
    };
    return this.#tracer.startSpan(name, { kind, attributes }, contextOf(traceparent));
  }

  #end(span: Span, outcome: Accepted | Fault): void {
    if (!outcome.ok) {
      span.setAttribute('error.type', outcome.code);
      span.setStatus({ code: SpanStatusCode.ERROR, message: outcome.reason });
    } else {
      if (outcome.seq !== undefined) span.setAttribute('carillon.seq', outcome.seq);
      if (outcome.duplicate) span.setAttribute('carillon.duplicate', true);
    }
    this.#finish(span);
  }

  #finish(span: Span): void {
    span.end();
    this.#parts.counts.ended++;
  }
}

function exporterOf({ endpoint, authorization, timeoutMs, queue }: TracingSettings): SpanExporter {
  return new OTLPTraceExporter({
    url: endpoint,
    timeoutMillis: timeoutMs,
    // At the end the whole queue goes out at once, in batches.
    concurrencyLimit: 1 + Math.ceil(queue / EXPORT_BATCH),
    ...(authorization !== undefined && { headers: { authorization } }),
  });
}

/** The processor itself tells nobody what became of its spans. */
function counted(exporter: SpanExporter, { counts, log }: TracingParts): SpanExporter {
  return {
    export: (spans: ReadableSpan[], done) =>
      exporter.export(spans, (result) => {
        if (result.error === undefined) counts.exported += spans.length;
        else {
          counts.failed += spans.length;
          log.warn({ err: result.error, spans: spans.length }, 'spans were not exported');
        }
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
  };
}

/** Flags are the last two digits of a `traceparent` that has been checked. */
function isSampled(traceparent: string): boolean {
  return (Number.parseInt(traceparent.slice(-2), 16) & TraceFlags.SAMPLED) !== 0;
}

function contextOf(traceparent: string | undefined): Context {
  if (traceparent === undefined) return ROOT_CONTEXT;
  const [, traceId = '', spanId = ''] = traceparent.split('-');
  const parent = { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true };
  return trace.setSpanContext(ROOT_CONTEXT, parent);
}

function textOf({ traceId, spanId }: SpanContext): string {
  return `00-${traceId}-${spanId}-01`;
}
