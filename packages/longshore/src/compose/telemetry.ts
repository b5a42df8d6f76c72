import {
  type Clock,
  type DirectorySnapshot,
  type EndpointId,
  LongshoreError,
  type LoadReport,
  type Random,
} from "@longshore/core";
import { httpTransport, loadMeter, memoryMeter } from "@longshore/nodejs";
import {
  type Counter,
  createLog,
  createTelemetry,
  createTracing,
  type LogExporter,
  type LogLevel,
  type MachineUse,
  type MetricExporter,
  otlpExporter,
  otlpLogExporter,
  otlpMetricExporter,
  type OtlpParts,
  settingsFor,
  type SpanExporter,
  type Telemetry,
} from "@longshore/server";

/** A kind of telemetry that a collector takes. */
export type OtlpSignal = (typeof otlpSignals)[number];

/** All that a collector takes. */
export const otlpSignals = ["traces", "metrics", "logs"] as const;

/** The telemetry of a server and its targets. */
export interface TelemetryOptions {
  /** Takes log lines, one JSON object each. Default: no log. */
  readonly writeLog?: (line: string) => void;
  /** Default `info`. */
  readonly logLevel?: LogLevel | "none";
  /**
   * A collector: `http(s)://host:port`, with a path that ends in `/v1/traces` where it is not that one. Another path is taken as it is, for traces
   * alone. Default: nothing is sent.
   */
  readonly otlp?: string;
  /** Signals that the collector gets. Default: traces. */
  readonly otlpSignals?: readonly OtlpSignal[];
  /** How often metrics are sent, in milliseconds. Default 60,000. */
  readonly otlpIntervalMs?: number;
  /** Sent to the collector: credentials. Lower-case names. */
  readonly otlpHeaders?: Readonly<Record<string, string>>;
  /** Added to what telemetry says of its source, such as `service.name`. */
  readonly resource?: Readonly<Record<string, string>>;
  /** One in this many requests without a decision of their own is traced. Default 1: all. */
  readonly traceRate?: number;
  /** Called once with what changes level and rate later. Default: they stay as they are. */
  readonly follow?: (apply: (change: TelemetryChange) => void) => void;
}

/** The telemetry settings that can change while a server runs. */
export interface TelemetryChange {
  readonly logLevel: LogLevel | "none";
  readonly traceRate: number;
}

/** Telemetry with its parts. */
export interface OpenedTelemetry {
  readonly telemetry: Telemetry;
  /** Sends what waits for the collector, for up to a second. Idempotent. */
  close(): Promise<void>;
}

function machine(clock: Clock): { read(): MachineUse } & Disposable {
  const load = loadMeter();
  const memory = memoryMeter(clock);
  return {
    read() {
      const { busyRatio, loopDelayP99Ms } = load.read();
      const { total, free } = memory();
      return {
        cpuRatio: busyRatio ?? 0,
        memoryTotalBytes: total,
        memoryUsedBytes: total - free,
        residentBytes: process.memoryUsage.rss(),
        eventLoopDelaySeconds: loopDelayP99Ms / 1000,
      };
    },
    [Symbol.dispose]: () => load[Symbol.dispose](),
  };
}

function invalid(message: string, cause?: unknown): LongshoreError {
  return new LongshoreError("invalid-configuration", "resolve", message, { cause });
}

/** A collector's address, and the path of each kind of telemetry. */
interface Collector {
  readonly address: string;
  path(signal: OtlpSignal): string;
}

function collectorOf(text: string, signals: readonly OtlpSignal[]): Collector {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw invalid("the collector's address is not a URL", cause);
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw invalid(`telemetry is sent over http or https, not over ${url.protocol}`);
  }
  if (url.username !== "" || url.password !== "") {
    throw invalid("the collector's address has credentials in it: they come from OTEL_EXPORTER_OTLP_HEADERS");
  }
  const { origin: address, pathname } = url;
  const root = pathname === "/" ? "" : /^(.*)\/v1\/traces$/.exec(pathname)?.[1];
  if (root !== undefined) return { address, path: (signal) => `${root}/v1/${signal}` };
  if (signals.some((signal) => signal !== "traces")) {
    throw invalid(
      `the collector's path ${pathname} does not end in /v1/traces, so that the one for ${signals.join(" and ")} is unknown`,
    );
  }
  return { address, path: () => pathname };
}

/** Metrics of this machine, logs to a writer, and what a collector shall get. Throws `invalid-configuration`. */
export function openTelemetry(
  options: TelemetryOptions,
  parts: {
    readonly clock: Clock;
    readonly random: Random;
    readonly load: () => LoadReport;
    readonly directory?: () => DirectorySnapshot | undefined;
    /** Endpoints whose answers are checked. */
    readonly checked?: () => Iterable<EndpointId>;
    /** The resource of what a collector gets. */
    readonly resource: Readonly<Record<string, string>>;
  },
): OpenedTelemetry {
  const { clock, random, load, resource } = parts;
  const { otlp, otlpSignals: signals = ["traces"], writeLog, logLevel = "info" } = options;
  const collector = otlp === undefined ? undefined : collectorOf(otlp, signals);
  const use = machine(clock);
  const transport = collector && httpTransport({ address: collector.address, clock });
  const sends = (signal: OtlpSignal): boolean => collector !== undefined && signals.includes(signal);
  let spans: SpanExporter | undefined;
  let logs: LogExporter | undefined;
  let metrics: MetricExporter | undefined;
  const log =
    writeLog || sends("logs")
      ? createLog(
          clock,
          writeLog ?? (() => undefined),
          logLevel,
          sends("logs") ? (record) => logs?.give(record) : undefined,
        )
      : undefined;
  const telemetry = createTelemetry({
    clock,
    random,
    load,
    machine: () => use.read(),
    ...(parts.directory ? { directory: parts.directory } : {}),
    ...(parts.checked ? { checked: parts.checked } : {}),
    ...(log ? { log } : {}),
    tracing: createTracing(random, {
      level: sends("traces") ? "TIMESTAMPS" : "OFF",
      rate: options.traceRate ?? 1,
    }),
    ...(sends("traces") ? { spans: (span) => spans?.give(span) } : {}),
  });
  if (collector && transport) {
    const to = (signal: OtlpSignal, counter: Counter): OtlpParts => ({
      transport,
      clock,
      path: collector.path(signal),
      resource: { ...resource, ...options.resource },
      ...(options.otlpHeaders ? { headers: options.otlpHeaders } : {}),
      counted: (outcome, items) => counter.add([outcome], items),
    });
    const own = telemetry.metrics;
    if (sends("traces")) spans = otlpExporter(to("traces", own.spans));
    if (sends("logs")) logs = otlpLogExporter(to("logs", own.logRecords));
    if (sends("metrics")) {
      metrics = otlpMetricExporter({
        ...to("metrics", own.metricPoints),
        ...(options.otlpIntervalMs === undefined ? {} : { intervalMs: options.otlpIntervalMs }),
        read() {
          telemetry.settle();
          return own.families();
        },
      });
    }
  }
  options.follow?.(({ logLevel, traceRate }) => {
    telemetry.log.change(settingsFor(logLevel));
    telemetry.tracing.change(undefined, { rate: traceRate });
  });
  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    telemetry.settle();
    const sent = Promise.all([spans?.close(), logs?.close(), metrics?.close()]);
    await Promise.race([sent, new Promise<void>((resolve) => clock.timer(1000, resolve))]);
    use[Symbol.dispose]();
    await transport?.close();
  };
  return { telemetry, close: () => (closed ??= close()) };
}
