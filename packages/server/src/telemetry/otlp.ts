/**
 * Traces, logs and metrics to a collector, as OTLP over HTTP in its JSON form.
 *
 * Telemetry must not slow down what it tells of: spans and log records go into queues with an end, one request of each kind to the
 * collector is under way at a time, and what finds the queue full is dropped and counted. Metrics are read when they are sent.
 */
import { type Clock, LongshoreError, readBody, type Transport } from "@longshore/core";
import { housekeepingCall, sleep, withTime } from "@longshore/core/internal";
import type { LogRecord } from "./log.ts";
import { otlpLogs, otlpMetrics, otlpTraces, type Resource } from "./otlp-json.ts";
import type { Family } from "./registry.ts";
import type { Span } from "./spans.ts";

/** The parts of an exporter. */
export interface OtlpParts {
  /** To the collector. Not owned. */
  readonly transport: Transport;
  readonly clock: Clock;
  /** Default `/v1/traces`, `/v1/logs` or `/v1/metrics`. */
  readonly path?: string;
  /** For collectors that want a credential. Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The resource of the telemetry. Default `service.name` `longshore`. */
  readonly resource?: Readonly<Record<string, string>>;
  /** Called with the outcome of a number of spans, log records or points. */
  readonly counted?: (outcome: SpanOutcome, items: number) => void;
  /** Spans or log records that may wait. Default 4,096. */
  readonly maxQueued?: number;
  /** Spans or log records of one request to the collector. Default 512. */
  readonly maxBatch?: number;
  /** How long spans and log records wait for company, in milliseconds. Default 2,000. */
  readonly delayMs?: number;
  /** How long the collector may take, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
}

/** The outcome of a span, a log record or a point of a metric. `failed`: refused, or not taken after three tries. */
export type SpanOutcome = "exported" | "dropped" | "failed";

/** Sends items to a collector. */
interface Exporter<Item> {
  /** Takes an item and returns at once. */
  give(item: Item): void;
  /** Sends what waits, and stops. Resolves when it is sent or given up. Idempotent. */
  close(): Promise<void>;
}

/** Sends spans to a collector. */
export type SpanExporter = Exporter<Span>;

/** Sends log records to a collector. */
export type LogExporter = Exporter<LogRecord>;

/** Statuses after which the collector wants a retry. */
const tryAgain: readonly number[] = [429, 502, 503, 504];
const tries = 3;

function resourceOf({ resource }: OtlpParts): Resource {
  return { "service.name": "longshore", ...resource };
}

/** Items that a collector refused although it took the request. A reply that tells nothing refused nothing. */
function rejectedOf(reply: Uint8Array): number {
  try {
    // The collector's reply is checked below; other shapes count as empty.
    const said = JSON.parse(new TextDecoder().decode(reply)) as { readonly partialSuccess?: object };
    const [, count] =
      Object.entries(said.partialSuccess ?? {}).find(([key]) => key.startsWith("rejected")) ?? [];
    return Number(count) > 0 ? Number(count) : 0;
  } catch {
    return 0;
  }
}

/** Sends one request after the other, each up to three times. */
class Sender {
  readonly #parts: OtlpParts;
  readonly #path: string;
  readonly #stop = new AbortController();
  /** The last requests are sent once. */
  isClosing = false;

  constructor(parts: OtlpParts, path: string) {
    this.#parts = parts;
    this.#path = parts.path ?? path;
  }

  async send(body: string, items: number): Promise<void> {
    const { clock, delayMs = 2000, counted = () => undefined } = this.#parts;
    const bytes = new TextEncoder().encode(body);
    for (let attempt = 1; attempt <= tries; attempt++) {
      // A collector that cannot be reached is as good as one that says that it is too busy.
      const { status, rejected } = await this.#post(bytes).catch(() => ({ status: 503, rejected: 0 }));
      if (status >= 200 && status < 300) {
        const refused = Math.min(rejected, items);
        if (refused > 0) counted("failed", refused);
        if (refused < items) counted("exported", items - refused);
        return;
      }
      if (!tryAgain.includes(status) || attempt === tries || this.isClosing) break;
      await sleep(clock, delayMs * attempt, this.#stop.signal).catch(() => undefined);
    }
    counted("failed", items);
  }

  async #post(body: Uint8Array): Promise<{ readonly status: number; readonly rejected: number }> {
    const { transport, clock, timeoutMs = 10_000 } = this.#parts;
    const late = "the collector did not answer in time";
    const base = housekeepingCall("otlp", this.#stop.signal);
    using own = withTime(base, clock, timeoutMs, () => new LongshoreError("no-answer", "transport", late));
    const headers = { "content-type": "application/json", ...this.#parts.headers };
    const path = this.#path;
    const request = { method: "POST", path, headers, body: { kind: "parts", parts: [body] } } as const;
    const response = await transport.send(request, own.call);
    const reply = await readBody(response.body, { maxBytes: 65_536 });
    return { status: response.status, rejected: rejectedOf(reply) };
  }
}

function queueExporter<Item>(
  parts: OtlpParts,
  path: string,
  encode: (items: readonly Item[], resource: Resource) => string,
): Exporter<Item> {
  const { clock, maxQueued = 4096, maxBatch = 512, delayMs = 2000, counted = () => undefined } = parts;
  const resource = resourceOf(parts);
  const sender = new Sender(parts, path);
  const queue: Item[] = [];
  let sending: Promise<void> | undefined;
  let timer: Disposable | undefined;

  async function drainQueue(): Promise<void> {
    while (queue.length > 0) {
      const items = queue.splice(0, maxBatch);
      await sender.send(encode(items, resource), items.length);
    }
    // In the same step as the last look at the queue: an item that comes next arms the timer again.
    sending = undefined;
  }

  async function flush(): Promise<void> {
    timer?.[Symbol.dispose]();
    timer = undefined;
    if (queue.length > 0) sending ??= drainQueue();
    await sending;
  }

  return {
    give(item) {
      if (sender.isClosing || queue.length >= maxQueued) return counted("dropped", 1);
      queue.push(item);
      if (queue.length >= maxBatch) void flush();
      else if (!sending) timer ??= clock.timer(delayMs, () => void flush());
    },
    async close() {
      if (sender.isClosing) return;
      sender.isClosing = true;
      await flush();
    },
  };
}

/** An exporter of spans over a transport. */
export function otlpExporter(parts: OtlpParts): SpanExporter {
  return queueExporter(parts, "/v1/traces", otlpTraces);
}

/** An exporter of log records over a transport. */
export function otlpLogExporter(parts: OtlpParts): LogExporter {
  return queueExporter(parts, "/v1/logs", otlpLogs);
}

/** Sends metrics to a collector again and again. */
export interface MetricExporter {
  /** Sends them once more, and stops. Resolves when they are sent or given up. Idempotent. */
  close(): Promise<void>;
}

/** An exporter of metrics over a transport; `read` is called before each sending. */
export function otlpMetricExporter(
  parts: OtlpParts & {
    readonly read: () => Iterable<Family>;
    /** Default 60,000. */
    readonly intervalMs?: number;
  },
): MetricExporter {
  const { clock, read, intervalMs = 60_000 } = parts;
  const resource = resourceOf(parts);
  const sender = new Sender(parts, "/v1/metrics");
  const startMs = clock.wallMs();
  let sending: Promise<void> | undefined;
  let timer: Disposable | undefined;

  async function sendAll(): Promise<void> {
    const bodies = otlpMetrics(read(), resource, { startMs, nowMs: clock.wallMs() });
    for (const { body, points } of bodies) await sender.send(body, points);
    sending = undefined;
  }

  function arm(): void {
    timer = clock.timer(intervalMs, () => {
      arm();
      // While the collector is slow a round is left out: the next one has its counts, too.
      sending ??= sendAll();
    });
  }

  arm();
  return {
    async close() {
      if (sender.isClosing) return;
      sender.isClosing = true;
      timer?.[Symbol.dispose]();
      await sending;
      await sendAll();
    },
  };
}
