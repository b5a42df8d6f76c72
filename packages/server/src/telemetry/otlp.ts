/**
 * Traces to a collector, as OTLP over HTTP in its JSON form (opentelemetry-proto 1.x, `ExportTraceServiceRequest`).
 *
 * Telemetry must not slow down what it tells of: spans go into a queue with an end, one request to the collector is
 * under way at a time, and what finds the queue full is dropped and counted.
 */
import { type Clock, LongshoreError, readBody, type Transport } from "@longshore/core";
import { housekeepingCall, sleep, withTime } from "@longshore/core/internal";
import type { Span } from "./spans.ts";

/** The parts of an exporter. */
export interface OtlpParts {
  /** To the collector. Not owned. */
  readonly transport: Transport;
  readonly clock: Clock;
  /** Default `/v1/traces`. */
  readonly path?: string;
  /** For collectors that want a credential. Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The resource of the spans. Default `service.name` `longshore`. */
  readonly resource?: Readonly<Record<string, string>>;
  /** Called with the outcome of a number of spans. */
  readonly counted?: (outcome: SpanOutcome, spans: number) => void;
  /** Spans that may wait. Default 4,096. */
  readonly maxQueued?: number;
  /** Spans of one request to the collector. Default 512. */
  readonly maxBatch?: number;
  /** How long spans wait for company, in milliseconds. Default 2,000. */
  readonly delayMs?: number;
  /** How long the collector may take, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
}

/** The outcome of a span. */
export type SpanOutcome = "exported" | "dropped" | "failed";

/** Sends spans to a collector. */
export interface SpanExporter {
  /** Takes a span and returns at once. */
  give(span: Span): void;
  /** Sends what waits, and stops. Resolves when it is sent or given up. Idempotent. */
  close(): Promise<void>;
}

const kinds = { internal: 1, server: 2, client: 3 } as const;

/** Nanoseconds as a whole number in text: JSON numbers are too coarse. */
function nanoseconds(ms: number): string {
  return String(BigInt(Math.round(ms * 1000)) * 1000n);
}

function attribute([key, value]: readonly [string, string | number | boolean]): object {
  if (typeof value === "boolean") return { key, value: { boolValue: value } };
  if (typeof value === "string") return { key, value: { stringValue: value } };
  return { key, value: Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value } };
}

function spanJson(span: Span): object {
  const { traceId, spanId, parentSpanId, state, name, kind, links, failure } = span;
  return {
    traceId,
    spanId,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    ...(state === undefined ? {} : { traceState: state }),
    name,
    kind: kinds[kind],
    startTimeUnixNano: nanoseconds(span.startMs),
    endTimeUnixNano: nanoseconds(span.endMs),
    attributes: Object.entries(span.attributes).map(attribute),
    links: links.map((link) => ({ traceId: link.traceId, spanId: link.spanId })),
    status: failure === undefined ? {} : { code: 2, message: failure },
  };
}

/** The body of a request to a collector. */
export function otlpTraces(spans: readonly Span[], resource: Readonly<Record<string, string>>): string {
  return JSON.stringify({
    resourceSpans: [
      {
        resource: { attributes: Object.entries(resource).map(attribute) },
        scopeSpans: [{ scope: { name: "longshore" }, spans: spans.map(spanJson) }],
      },
    ],
  });
}

/** Statuses after which the collector wants a retry. */
const tryAgain: readonly number[] = [429, 502, 503, 504];
const tries = 3;

/** An exporter over a transport. */
export function otlpExporter(parts: OtlpParts): SpanExporter {
  const { clock, transport, path = "/v1/traces", maxQueued = 4096, maxBatch = 512 } = parts;
  const { delayMs = 2000, timeoutMs = 10_000, counted = () => undefined } = parts;
  const resource = { "service.name": "longshore", ...parts.resource };
  const queue: Span[] = [];
  const stop = new AbortController();
  let sending: Promise<void> | undefined;
  let timer: Disposable | undefined;
  let closed = false;

  async function post(body: Uint8Array): Promise<number> {
    const late = "the collector did not answer in time";
    const base = housekeepingCall("otlp", stop.signal);
    using own = withTime(base, clock, timeoutMs, () => new LongshoreError("no-answer", "transport", late));
    const headers = { "content-type": "application/json", ...parts.headers };
    const request = { method: "POST", path, headers, body: { kind: "parts", parts: [body] } } as const;
    const response = await transport.send(request, own.call);
    await readBody(response.body, { maxBytes: 65_536 });
    return response.status;
  }

  async function sendBatch(spans: readonly Span[]): Promise<void> {
    const body = new TextEncoder().encode(otlpTraces(spans, resource));
    for (let attempt = 1; attempt <= tries; attempt++) {
      // A collector that cannot be reached is as good as one that says that it is too busy.
      const status = await post(body).catch(() => 503);
      if (status >= 200 && status < 300) return counted("exported", spans.length);
      if (!tryAgain.includes(status) || attempt === tries || closed) break;
      await sleep(clock, delayMs * attempt, stop.signal).catch(() => undefined);
    }
    counted("failed", spans.length);
  }

  async function drainQueue(): Promise<void> {
    while (queue.length > 0) await sendBatch(queue.splice(0, maxBatch));
    // In the same step as the last look at the queue: a span that comes next arms the timer again.
    sending = undefined;
  }

  async function flush(): Promise<void> {
    timer?.[Symbol.dispose]();
    timer = undefined;
    if (queue.length > 0) sending ??= drainQueue();
    await sending;
  }

  return {
    give(span) {
      if (closed || queue.length >= maxQueued) return counted("dropped", 1);
      queue.push(span);
      if (queue.length >= maxBatch) void flush();
      else if (!sending) timer ??= clock.timer(delayMs, () => void flush());
    },
    async close() {
      if (closed) return;
      closed = true;
      await flush();
    },
  };
}
