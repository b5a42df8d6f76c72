import { untyped } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { checkLimits, checkNamed, limitChecks } from "./check-limits.ts";

describe("checkLimits", () => {
  it("takes what can be kept", () => {
    checkLimits({}, limitChecks.ofCalls);
    checkLimits(
      { deadlineMs: Infinity, objective: "cost", zones: [], leastTrust: "none", confirm: false },
      limitChecks.ofCalls,
    );
    checkLimits({ minInTimeRatio: 0.95, variant: undefined }, limitChecks.ofCalls);
    checkLimits(
      {
        signal: new AbortController().signal,
        only: "edge",
        prefer: { endpoint: "store-7" },
        progress: () => undefined,
        trace: { traceId: "0".repeat(32), spanId: "0".repeat(16), sampled: true },
      },
      limitChecks.ofCalls,
    );
    checkLimits({ objective: "p95", keep: "latest", maxInFlight: 2 }, limitChecks.ofStreams);
    checkLimits({ tenant: "till-4", saveEnergyBelowRatio: 0.2 }, limitChecks.ofDefaults, true);
  });

  it.each([
    [{ zone: ["eu"] }, "limits have no zone; they have deadlineMs, "],
    [{ toString: 1 }, "limits have no toString"],
    [{ zones: "eu" }, "limits.zones must be a list of texts"],
    [{ leastTrust: "Operated" }, "limits.leastTrust must be none, listed, operated, vouched or attested"],
    [{ confirm: "yes" }, "limits.confirm must be true or false"],
    [{ deadlineMs: Number.NaN }, "limits.deadlineMs must be a number"],
    [{ deadlineMs: "200" }, "limits.deadlineMs must be a number"],
    [
      { objective: "speed" },
      "such as latency, p95 or mean=1,energy=0.2: 'speed' is none of mean, p1 to p99, energy, cost and carbon",
    ],
    [{ objective: "p100" }, "'p100' is none of mean, p1 to p99"],
    [{ objective: "mean=1,chance=2" }, "chance is no sum and stands alone"],
    [{ objective: "mean=0" }, "the weight of mean must be a number above 0"],
    [{ objective: "mean=1," }, "'' is none of mean"],
    [{ objective: ["energy"] }, "limits.objective must be the words of an objective"],
    [{ signal: new AbortController() }, "limits.signal must be an AbortSignal, such as the signal of an"],
    [{ signal: "now" }, "limits.signal must be an AbortSignal"],
    [{ only: "here" }, "limits.only must be device, edge or cloud, or { endpoint: ID }"],
    [{ prefer: { tier: "edge" } }, "limits.prefer must be device, edge or cloud, or { endpoint: ID }"],
    [{ progress: "all" }, "limits.progress must be a function"],
    [
      { trace: `00-${"1".repeat(32)}-${"2".repeat(16)}-01` },
      "limits.trace must be a mapping with traceId, spanId",
    ],
    [{ maxInFlight: 0 }, "limits.maxInFlight must be a whole number of 1 or more"],
    [{ minInTimeRatio: 95 }, "limits.minInTimeRatio must be a number above 0, and at most 1"],
    [{ minAgreementRatio: 2 }, "limits.minAgreementRatio must be a number from 0 to 1"],
    [{ maxDeviceMillijoules: -1 }, "limits.maxDeviceMillijoules must be a number of 0 or more"],
    [{ minInTimeRatio: "0.95" }, "limits.minInTimeRatio must be a number above 0, and at most 1"],
  ])("refuses %o instead of passing it over", (limits, sentence) => {
    const refused = () => checkLimits<object>(limits, limitChecks.ofStreams);
    expect(refused).toThrow(expect.objectContaining({ reason: "invalid-input" }));
    expect(refused).toThrow(sentence);
  });

  it.each([null, "latency"])("refuses %o in place of limits", (limits) => {
    const refused = () => checkLimits<object>(untyped(limits), limitChecks.ofCalls);
    expect(refused).toThrow(expect.objectContaining({ reason: "invalid-input" }));
    expect(refused).toThrow("limits must be a mapping");
  });

  it("refuses a model that is no name", () => {
    expect(() => checkNamed(undefined)).toThrow("the model must be a text, its name");
    checkNamed("detector");
  });

  it.each(["tenant", "saveEnergyBelowRatio", "keep", "maxInFlight"])(
    "refuses %s of one call, where nothing reads it",
    (key) => {
      const refused = () => checkLimits<object>({ [key]: 1 }, limitChecks.ofCalls);
      expect(refused).toThrow(
        `limits have no ${key}; they have ${Object.keys(limitChecks.ofCalls).join(", ")}`,
      );
    },
  );

  it.each([
    "maxCostMicros",
    "maxDeviceMillijoules",
    "minAccuracyRatio",
    "minInTimeRatio",
    "variant",
    "version",
    "idempotencyKey",
    "signal",
    "only",
    "prefer",
  ])("refuses %s as a default, where nothing reads it", (key) => {
    const refused = () => checkLimits<object>({ [key]: 1 }, limitChecks.ofDefaults, true);
    expect(refused).toThrow(
      `defaults have no ${key}; they have ${Object.keys(limitChecks.ofDefaults).join(", ")}`,
    );
  });

  it("says of what an offloader is opened with that its defaults are wrong", () => {
    const opened = () => checkLimits({ leastTrust: "operatd" }, limitChecks.ofDefaults, true);
    expect(opened).toThrow(expect.objectContaining({ reason: "invalid-configuration" }));
    expect(opened).toThrow("defaults.leastTrust");
  });
});
