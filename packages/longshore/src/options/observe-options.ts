import { LongshoreError } from "@longshore/core";
import type { Command } from "commander";
import { Option } from "commander";
import type { OnlineOptions } from "../compose/put-online.ts";
import { type OtlpSignal, otlpSignals, type TelemetryOptions } from "../compose/telemetry.ts";
import type { LiveSettings } from "../settings/live-settings.ts";
import type { Settled } from "../settings/settled.ts";
import type { CommandIo } from "./io.ts";

/** Options of `longshore serve` about its reports, its memory, and how it ends. */
export interface ObserveOptions {
  readonly logLevel: NonNullable<TelemetryOptions["logLevel"]>;
  readonly otlp?: string;
  readonly otlpSignals?: readonly OtlpSignal[];
  readonly otlpInterval: number;
  readonly traceRate: number;
  readonly cacheSize: number;
  readonly drainSeconds: number;
  readonly lingerSeconds: number;
}

/** Adds them. */
export function observeOptions(
  command: Command,
  number: (name: string, least: number) => (text: string) => number,
): Command {
  return command
    .addOption(
      new Option("--log-level <level>", "level of the JSON log on stderr")
        .choices(["none", "error", "warning", "info", "verbose"])
        .default("info"),
    )
    .option(
      "--otlp <url>",
      "send telemetry to this OpenTelemetry collector (OTLP over HTTP); credentials come from OTEL_EXPORTER_OTLP_HEADERS, the name from OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES",
    )
    .option(
      "--otlp-signals <list>",
      "what to send there, with commas between: traces, metrics, logs (default: traces)",
      signalsOf,
    )
    .option("--otlp-interval <s>", "time between two sendings of metrics", number("otlp-interval", 1), 60)
    .option(
      "--trace-rate <n>",
      "trace one in N requests whose sender did not decide",
      number("trace-rate", 1),
      1,
    )
    .option(
      "--cache-size <bytes>",
      "memory of the response cache; 0 turns it off",
      number("cache-size", 0),
      64 * 2 ** 20,
    )
    .option(
      "--drain-seconds <s>",
      "longest wait for requests in flight after SIGTERM",
      number("drain-seconds", 0),
      30,
    )
    .option(
      "--linger-seconds <s>",
      "least time that ports stay open after SIGTERM, so that balancers notice",
      number("linger-seconds", 0),
      1,
    );
}

/** Reads `traces,metrics`. Throws `invalid-input` for other words, and for one that is named twice. */
function signalsOf(text: string): readonly OtlpSignal[] {
  const names = text.split(",").map((one) => one.trim());
  const signals = otlpSignals.filter((one) => names.includes(one));
  if (signals.length === names.length) return signals;
  throw new LongshoreError(
    "invalid-input",
    "resolve",
    `--otlp-signals wants some of ${otlpSignals.join(",")}, each once, not '${text.slice(0, 80)}'`,
  );
}

/** `name=value,name=value` with percent-encoded values, as OpenTelemetry has it. */
function headersOf(text: string | undefined): Readonly<Record<string, string>> {
  const pairs = Object.entries(pairsOf(text)).map(([name, value]) => [name.toLowerCase(), value]);
  return Object.fromEntries(pairs) as Readonly<Record<string, string>>;
}

/** The source that telemetry names: `OTEL_RESOURCE_ATTRIBUTES`, and `OTEL_SERVICE_NAME` before a name in those. */
function resourceOf(environment: CommandIo["environment"]): Readonly<Record<string, string>> {
  const name = environment["OTEL_SERVICE_NAME"];
  const named = name === undefined || name === "" ? {} : { "service.name": name };
  return { ...pairsOf(environment["OTEL_RESOURCE_ATTRIBUTES"]), ...named };
}

function pairsOf(text: string | undefined): Readonly<Record<string, string>> {
  const pairs = (text ?? "").split(",").flatMap((pair): [string, string][] => {
    const at = pair.indexOf("=");
    if (at <= 0) return [];
    return [[pair.slice(0, at).trim(), decoded(pair.slice(at + 1).trim())]];
  });
  return Object.fromEntries(pairs);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The options among them that can change while a server runs. */
function liveOf({ options }: Settled): Pick<ObserveOptions, "logLevel" | "traceRate"> {
  // The schema of the options has checked what these say.
  const { logLevel, traceRate } = options as unknown as ObserveOptions;
  return { logLevel, traceRate };
}

/** The options for a server. */
export function observeServeOptions(
  options: ObserveOptions,
  io: CommandIo,
  live?: LiveSettings,
): Partial<OnlineOptions> {
  const { logLevel, otlp, otlpSignals, otlpInterval, traceRate, cacheSize } = options;
  if (otlpSignals && otlp === undefined) {
    throw new LongshoreError("invalid-input", "resolve", "--otlp-signals needs --otlp: where to send them");
  }
  return {
    cacheBytes: cacheSize,
    telemetry: {
      writeLog: (line) => (io.running ?? io).note(line),
      logLevel,
      traceRate,
      resource: resourceOf(io.environment),
      ...(live ? { follow: (apply) => live.follow((settled) => apply(liveOf(settled))) } : {}),
      ...(otlp === undefined
        ? {}
        : {
            otlp,
            ...(otlpSignals ? { otlpSignals } : {}),
            otlpIntervalMs: otlpInterval * 1000,
            otlpHeaders: headersOf(io.environment["OTEL_EXPORTER_OTLP_HEADERS"]),
          }),
    },
  };
}
