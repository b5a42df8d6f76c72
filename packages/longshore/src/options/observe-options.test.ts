import { expect, it } from "vitest";
import type { CommandIo } from "./io.ts";
import { observeServeOptions } from "./observe-options.ts";

it("reads the resource of traces from OpenTelemetry's variables", () => {
  const resource = (environment: Readonly<Record<string, string>>): unknown => {
    const io: CommandIo = {
      out: () => undefined,
      note: () => undefined,
      progress: () => undefined,
      environment,
      stop: new AbortController().signal,
    };
    const options = {
      logLevel: "info",
      traceRate: 1,
      cacheSize: 0,
      drainSeconds: 1,
      lingerSeconds: 1,
    } as const;
    return observeServeOptions(options, io).telemetry?.resource;
  };
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
