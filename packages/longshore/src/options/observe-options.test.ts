import { Command } from "commander";
import { expect, it } from "vitest";
import type { CommandIo } from "./io.ts";
import { observeOptions, observeServeOptions } from "./observe-options.ts";

const options = {
  logLevel: "info",
  otlpInterval: 60,
  traceRate: 1,
  cacheSize: 0,
  drainSeconds: 1,
  lingerSeconds: 1,
} as const;

function ioWith(environment: Readonly<Record<string, string>>): CommandIo {
  return {
    out: () => undefined,
    note: () => undefined,
    progress: () => undefined,
    environment,
    stop: new AbortController().signal,
  };
}

it("reads the resource of traces from OpenTelemetry's variables", () => {
  const resource = (environment: Readonly<Record<string, string>>): unknown =>
    observeServeOptions(options, ioWith(environment)).telemetry?.resource;
  const attributes = "service.name=a,deployment.environment=shop%20floor,Team=x";
  expect(resource({})).toEqual({});
  expect(resource({ OTEL_RESOURCE_ATTRIBUTES: attributes })).toEqual({
    "service.name": "a",
    "deployment.environment": "shop floor",
    Team: "x",
  });
  expect(resource({ OTEL_RESOURCE_ATTRIBUTES: attributes, OTEL_SERVICE_NAME: "till" })).toMatchObject({
    "service.name": "till",
  });
});

it("reads what a collector shall get, each once and only with its address", () => {
  const read = (text: string): unknown => {
    const command = observeOptions(new Command(), () => Number);
    command.parse(["--otlp-signals", text], { from: "user" });
    return command.opts()["otlpSignals"];
  };
  expect(read("logs, traces")).toEqual(["traces", "logs"]);
  for (const wrong of ["", "spans", "logs,logs", "traces,"]) {
    expect(() => read(wrong)).toThrow("--otlp-signals wants some of traces,metrics,logs, each once");
  }
  expect(() => observeServeOptions({ ...options, otlpSignals: ["logs"] }, ioWith({}))).toThrow(
    "--otlp-signals needs --otlp",
  );
});
