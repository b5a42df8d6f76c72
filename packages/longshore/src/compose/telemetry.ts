import {
  type Clock,
  type DirectorySnapshot,
  LongshoreError,
  type LoadReport,
  type Random,
} from "@longshore/core";
import { httpTransport, loadMeter, memoryMeter } from "@longshore/nodejs";
import {
  createLog,
  createTelemetry,
  createTracing,
  type LogLevel,
  type MachineUse,
  otlpExporter,
  settingsFor,
  type SpanExporter,
  type Telemetry,
} from "@longshore/server";

/** The telemetry of a server and its targets. */
export interface TelemetryOptions {
  /** Takes log lines, one JSON object each. Default: no log. */
  readonly writeLog?: (line: string) => void;
  /** Default `info`. */
  readonly logLevel?: LogLevel | "none";
  /** Collector of traces: `http(s)://host:port`, with a path where it is not `/v1/traces`. Default: no traces. */
  readonly otlp?: string;
  /** Sent to the collector: credentials. Lower-case names. */
  readonly otlpHeaders?: Readonly<Record<string, string>>;
  /** Added to what traces say of their source, such as `service.name`. */
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

/** Telemetry with what it stands on. */
export interface OpenedTelemetry {
  readonly telemetry: Telemetry;
  /** Sends the spans that wait, for up to a second. Idempotent. */
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

function collectorOf(text: string): { readonly address: string; readonly path: string } {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new LongshoreError("invalid-configuration", "resolve", "the collector's address is not a URL", {
      cause,
    });
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `traces are sent over http or https, not over ${url.protocol}`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      "the collector's address has credentials in it: they come from OTEL_EXPORTER_OTLP_HEADERS",
    );
  }
  return { address: url.origin, path: url.pathname === "/" ? "/v1/traces" : url.pathname };
}

/** Metrics of this machine, logs to a writer, traces to a collector. Throws `invalid-configuration`. */
export function openTelemetry(
  options: TelemetryOptions,
  parts: {
    readonly clock: Clock;
    readonly random: Random;
    readonly load: () => LoadReport;
    readonly directory?: () => DirectorySnapshot | undefined;
    /** The resource of the traces. */
    readonly resource: Readonly<Record<string, string>>;
  },
): OpenedTelemetry {
  const { clock, random, load, resource } = parts;
  const { otlp, writeLog } = options;
  const collector = otlp === undefined ? undefined : collectorOf(otlp);
  const use = machine(clock);
  const transport = collector && httpTransport({ address: collector.address, clock });
  let exporter: SpanExporter | undefined;
  const telemetry = createTelemetry({
    clock,
    random,
    load,
    machine: () => use.read(),
    ...(parts.directory ? { directory: parts.directory } : {}),
    ...(writeLog ? { log: createLog(clock, writeLog, options.logLevel ?? "info") } : {}),
    tracing: createTracing(random, {
      level: collector ? "TIMESTAMPS" : "OFF",
      rate: options.traceRate ?? 1,
    }),
    ...(collector ? { spans: (span) => exporter?.give(span) } : {}),
  });
  if (collector && transport) {
    exporter = otlpExporter({
      transport,
      clock,
      path: collector.path,
      resource: { ...resource, ...options.resource },
      ...(options.otlpHeaders ? { headers: options.otlpHeaders } : {}),
      counted: (outcome, spans) => telemetry.metrics.spans.add([outcome], spans),
    });
  }
  options.follow?.(({ logLevel, traceRate }) => {
    telemetry.log.change(settingsFor(logLevel));
    telemetry.tracing.change(undefined, { rate: traceRate });
  });
  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    use[Symbol.dispose]();
    telemetry.settle();
    await Promise.race([exporter?.close(), new Promise<void>((resolve) => clock.timer(1000, resolve))]);
    await transport?.close();
  };
  return { telemetry, close: () => (closed ??= close()) };
}
