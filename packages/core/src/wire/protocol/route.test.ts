import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LongshoreError } from "../../words/base/index.ts";
import { allowedMethods, modelPath, parseRoute, segmentPath } from "./route.ts";
import { wireRoutes } from "./route-table.ts";

function routeOf(method: string, path: string): unknown {
  try {
    return parseRoute(method, path).route;
  } catch (thrown) {
    if (!LongshoreError.is(thrown)) throw thrown;
    return thrown.reason;
  }
}

describe("routes", () => {
  const cases: readonly [string, string, unknown][] = [
    ["GET", "/v2", { kind: "server" }],
    ["GET", "/v2/", { kind: "server" }],
    ["GET", "/v2/health/live", { kind: "live" }],
    ["GET", "/v2/health/ready", { kind: "ready" }],
    ["GET", "/v2/models/stats", { kind: "stats" }],
    ["GET", "/v2/models/m", { kind: "model", model: "m" }],
    ["GET", "/v2/models/m/versions/2", { kind: "model", model: "m", version: "2" }],
    ["GET", "/v2/models/m/ready", { kind: "model-ready", model: "m" }],
    ["GET", "/v2/models/m/versions/2/config", { kind: "config", model: "m", version: "2" }],
    ["GET", "/v2/models/m/stats", { kind: "stats", model: "m" }],
    ["GET", "/v2/models/m/offers?bytes=5", { kind: "offers", model: "m" }],
    ["POST", "/v2/models/m/infer", { kind: "infer", model: "m" }],
    ["POST", "/v2/models/a%20b/infer", { kind: "infer", model: "a b" }],
    [
      "POST",
      "/v2/models/m/versions/2/variants/640/infer",
      { kind: "infer", model: "m", version: "2", variant: "640" },
    ],
    [
      "POST",
      "/v2/models/m/versions/2/variants/640/segments/detect.c3..end/infer",
      { kind: "infer", model: "m", version: "2", variant: "640", from: "detect.c3", to: "end" },
    ],
    [
      "GET",
      "/v2/models/m/versions/2/variants/640/head/c3",
      { kind: "head", model: "m", version: "2", variant: "640", to: "c3" },
    ],
    ["POST", "/v2/repository/index", { kind: "index" }],
    ["POST", "/v2/repository/models/m/load", { kind: "load", model: "m" }],
    ["POST", "/v2/repository/models/m/unload", { kind: "unload", model: "m" }],
    ["GET", "/metrics", { kind: "metrics" }],
    ["POST", "/v2/probe", { kind: "probe" }],
    ["GET", "/v2/logging", { kind: "log-settings" }],
    ["POST", "/v2/logging", { kind: "set-log-settings" }],
    ["POST", "/v2/models/m/trace/setting", { kind: "set-trace-settings", model: "m" }],
    ["GET", "/v2/systemsharedmemory/status", { kind: "shared-status", memory: "system" }],
    [
      "POST",
      "/v2/cudasharedmemory/region/r/register",
      { kind: "shared-register", memory: "cuda", region: "r" },
    ],
    ["POST", "/v2/models/m/generate", { kind: "generate", model: "m" }],
    ["OPTIONS", "/v2/logging", { kind: "options", allow: "GET, HEAD, POST, OPTIONS" }],
    ["OPTIONS", "*", { kind: "options", allow: "GET, HEAD, POST, OPTIONS" }],
    ["OPTIONS", "/none", "unknown-route"],
    ["GET", "/", "unknown-route"],
    ["GET", "/v3", "unknown-route"],
    ["GET", "/v2/", { kind: "server" }],
    ["GET", "/v2//models/m", "unknown-route"],
    ["GET", "/V2/models/m", "unknown-route"],
    ["GET", "/v2/models/", "unknown-model"],
    ["GET", "/v2/models/m/", "unknown-route"],
    ["GET", "/v2/models/m/versions", "unknown-route"],
    ["POST", "/v2/models/m/variants/640/infer", "unknown-route"],
    ["POST", "/v2/models/m/versions/2/variants/640/segments/a/infer", "unknown-route"],
    ["POST", "/v2/models/m/versions/2/variants/640/segments/a..b..c/infer", "unknown-route"],
    ["POST", "/v2/models/m/versions/2/variants/640/segments/a..b%2Fc/infer", "unknown-cut"],
    ["GET", "/v2/models/m/infer", "wrong-method"],
    ["POST", "/v2/models/m", "wrong-method"],
    ["DELETE", "/v2/models/m", "wrong-method"],
    ["GET", "/v2/models/..%2Fx", "unknown-model"],
    ["GET", "/v2/models/%2e%2e", "unknown-model"],
    ["GET", "/v2/models/a%00b", "unknown-model"],
    ["GET", "/v2/models/a%5Cb", "unknown-model"],
    ["GET", "/v2/models/%zz", "unknown-route"],
    ["GET", `/v2/models/${"x".repeat(4096)}`, "unknown-model"],
    ["GET", "http://elsewhere/v2/models/m", "unknown-route"],
  ];
  it.each(cases)("%s %s", (method, path, route) => {
    expect(routeOf(method, path)).toEqual(route);
  });

  it("the table routes each of its paths to its own kind, with every name in it", () => {
    for (const { kind, method, path, fixed } of wireRoutes) {
      const filled = path.replaceAll(/\{([a-z]+)\}/g, "$1-1");
      const names = [...path.matchAll(/\{([a-z]+)\}/g)].map(([, name]) => [name, `${name}-1`] as const);
      expect(routeOf(method, filled), path).toEqual({ kind, ...fixed, ...Object.fromEntries(names) });
      expect(routeOf("DELETE", filled), path).toBe("wrong-method");
      expect(allowedMethods(`${filled}?x=1`)).toContain(method);
    }
  });

  it("every name that a model can have survives the way through a path", () => {
    const name = fc
      .string({ minLength: 1, maxLength: 20, unit: "grapheme" })
      .filter((text) => /^[^\p{Cc}/\\]+$/u.test(text) && text !== "." && text !== "..");
    const cut = fc.stringMatching(/^[a-z0-9_-][a-z0-9._-]{0,10}$/).filter((text) => !/\.\.|\.$/.test(text));
    fc.assert(
      fc.property(name, name, name, cut, cut, (model, version, variant, from, to) => {
        expect(routeOf("GET", modelPath({ model, version }))).toEqual({ kind: "model", model, version });
        expect(routeOf("POST", segmentPath({ model, version, variant }, from, to))).toEqual({
          kind: "infer",
          model,
          version,
          variant,
          from,
          to,
        });
      }),
      { seed: 7 },
    );
  });
});
