import { LongshoreError, type WireResponse } from "@longshore/core";
import { read } from "@longshore/core/internal";
import type { Log, Tracing } from "../telemetry/index.ts";
import { findModel } from "./find-model.ts";
import type { Api, IncomingRequest, Served } from "./parts.ts";
import { jsonReply, requestObject } from "./replies.ts";

/** Where logs and traces go is the operator's business alone. */
function fixedSetting(what: string): LongshoreError {
  return new LongshoreError("not-permitted", "admission", `${what} cannot be changed over the network`);
}

function refuseUnknown(object: object, known: readonly string[]): void {
  for (const key of Object.keys(object)) {
    if (!known.includes(key)) read.refuseField(key.slice(0, 64), `one of ${known.join(", ")}`);
  }
}

function logJson(log: Log): object {
  const { error, warning, info, verboseLevel } = log.settings();
  return {
    log_file: "",
    log_info: info,
    log_warning: warning,
    log_error: error,
    log_verbose_level: verboseLevel,
    log_format: "ISO8601",
  };
}

/** `GET v2/logging`. */
export function logSettings({ telemetry: { log } }: Pick<Api, "telemetry">): WireResponse {
  return jsonReply(logJson(log));
}

/** `POST v2/logging`: changes the named settings, and replies with all. */
export async function setLogSettings(
  { telemetry: { log } }: Pick<Api, "telemetry">,
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const object = await requestObject(incoming);
  refuseUnknown(object, Object.keys(logJson(log)));
  for (const fixed of ["log_file", "log_format"] as const) {
    const value = read.own(object, fixed);
    if (value !== undefined && value !== read.own(logJson(log), fixed)) throw fixedSetting(fixed);
  }
  const flag = (key: string): boolean | undefined => read.optional(read.readFlag)(read.own(object, key), key);
  const change = {
    error: flag("log_error"),
    warning: flag("log_warning"),
    info: flag("log_info"),
    verboseLevel: read.optional(read.readWhole(0, 1000))(
      read.own(object, "log_verbose_level"),
      "log_verbose_level",
    ),
  };
  log.change(Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined)));
  return jsonReply(logJson(log));
}

/** Triton writes all values of these settings as text. */
function traceJson(tracing: Tracing, model: string | undefined): object {
  const { level, rate, count } = tracing.settings(model);
  return {
    trace_file: "",
    trace_level: [level],
    trace_rate: String(rate),
    trace_count: String(count),
    log_frequency: "0",
    trace_mode: "opentelemetry",
  };
}

async function checkModel(api: Served, model: string | undefined, incoming: IncomingRequest): Promise<void> {
  if (model !== undefined) await findModel(api, model, undefined, incoming.call);
}

/** `GET v2[/models/{m}]/trace/setting`. */
export async function traceSettings(
  api: Served,
  { model }: { readonly model?: string },
  incoming: IncomingRequest,
): Promise<WireResponse> {
  await checkModel(api, model, incoming);
  return jsonReply(traceJson(api.telemetry.tracing, model));
}

function levelFrom(value: unknown): "OFF" | "TIMESTAMPS" {
  const words = Array.isArray(value) ? (value as readonly unknown[]) : [value];
  if (words.every((word) => word === "OFF")) return "OFF";
  if (words.includes("TENSORS")) {
    throw new LongshoreError(
      "not-permitted",
      "admission",
      "trace_level TENSORS: traces hold times, never the content of tensors",
    );
  }
  if (words.every((word) => word === "TIMESTAMPS")) return "TIMESTAMPS";
  read.refuseField("trace_level", "OFF or TIMESTAMPS");
}

function figureFrom(value: unknown, key: string, least: number): number {
  const text = typeof value === "number" ? String(value) : value;
  const figure = typeof text === "string" && /^-?[0-9]{1,10}$/.test(text) ? Number(text) : NaN;
  if (!(figure >= least)) read.refuseField(key, `a whole number of ${least} or more, as text`);
  return figure;
}

/** `POST v2[/models/{m}]/trace/setting`: null resets a setting to its initial value, or a model's setting to that of all models. */
export async function setTraceSettings(
  api: Served,
  { model }: { readonly model?: string },
  incoming: IncomingRequest,
): Promise<WireResponse> {
  await checkModel(api, model, incoming);
  const object = await requestObject(incoming);
  const now = traceJson(api.telemetry.tracing, model);
  refuseUnknown(object, Object.keys(now));
  for (const fixed of ["trace_file", "log_frequency", "trace_mode"] as const) {
    const value = read.own(object, fixed);
    if (value !== undefined && value !== null && value !== read.own(now, fixed)) throw fixedSetting(fixed);
  }
  const level = read.own(object, "trace_level");
  const rate = read.own(object, "trace_rate");
  const count = read.own(object, "trace_count");
  api.telemetry.tracing.change(model, {
    ...(level === undefined ? {} : { level: level === null ? null : levelFrom(level) }),
    ...(rate === undefined ? {} : { rate: rate === null ? null : figureFrom(rate, "trace_rate", 0) }),
    ...(count === undefined ? {} : { count: count === null ? null : figureFrom(count, "trace_count", -1) }),
  });
  return jsonReply(traceJson(api.telemetry.tracing, model));
}
