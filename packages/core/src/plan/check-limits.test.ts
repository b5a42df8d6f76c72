import { describe, expect, it } from "vitest";
import type { TrustLevel } from "../base/index.ts";
import { checkLimits, demands } from "./check-limits.ts";
import { tablePolicy } from "./policy.ts";

describe("checkLimits", () => {
  it("takes what can be kept", () => {
    checkLimits({}, demands.ofCalls);
    checkLimits(
      { deadlineMs: Infinity, objective: "cost", zones: [], leastTrust: "none", confirm: false },
      demands.ofCalls,
    );
    checkLimits({ latencyQuantile: 0.95, variant: undefined }, demands.ofCalls);
    checkLimits({ latencyQuantile: 0.95, keep: "latest", maxInFlight: 2 }, demands.ofStreams);
    checkLimits({ tenant: "till-4", saveEnergyBelowRatio: 0.2 }, demands.ofDefaults, true);
  });

  it.each([
    [{ zone: ["eu"] }, "limits have no zone; they have deadlineMs, "],
    [{ toString: 1 }, "limits have no toString"],
    [{ zones: "eu" }, "limits.zones must be a list of texts"],
    [{ leastTrust: "Operated" }, "limits.leastTrust must be none, listed, operated or attested"],
    [{ confirm: "yes" }, "limits.confirm must be true or false"],
    [{ deadlineMs: Number.NaN }, "limits.deadlineMs must be a number"],
    [{ deadlineMs: "200" }, "limits.deadlineMs must be a number"],
    [{ objective: "speed" }, "limits.objective must be latency, energy, cost, accuracy, throughput"],
    [{ objective: ["energy"] }, "limits.objective must be latency, energy, cost, accuracy, throughput"],
    [{ maxInFlight: 0 }, "limits.maxInFlight must be a whole number of 1 or more"],
    [{ latencyQuantile: 95 }, "limits.latencyQuantile must be a number between 0 and 1"],
    [{ latencyQuantile: "0.95" }, "limits.latencyQuantile must be a number between 0 and 1"],
  ])("refuses %o instead of passing it over", (limits, sentence) => {
    const refused = () => checkLimits<object>(limits, demands.ofStreams);
    expect(refused).toThrow(expect.objectContaining({ reason: "invalid-input" }));
    expect(refused).toThrow(sentence);
  });

  it.each(["tenant", "saveEnergyBelowRatio", "keep", "maxInFlight"])(
    "refuses %s of one call, where nothing reads it",
    (key) => {
      const refused = () => checkLimits<object>({ [key]: 1 }, demands.ofCalls);
      expect(refused).toThrow(`limits have no ${key}; they have ${Object.keys(demands.ofCalls).join(", ")}`);
    },
  );

  it.each([
    "maxCostMicros",
    "maxDeviceMillijoules",
    "minAccuracyRatio",
    "latencyQuantile",
    "variant",
    "version",
    "idempotencyKey",
    "abort",
  ])("refuses %s as a default, where nothing reads it", (key) => {
    const refused = () => checkLimits<object>({ [key]: 1 }, demands.ofDefaults, true);
    expect(refused).toThrow(
      `defaults have no ${key}; they have ${Object.keys(demands.ofDefaults).join(", ")}`,
    );
  });

  it("says of what an offloader is opened with that its defaults are wrong", () => {
    const opened = () => checkLimits({ leastTrust: "operatd" }, demands.ofDefaults, true);
    expect(opened).toThrow(expect.objectContaining({ reason: "invalid-configuration" }));
    expect(opened).toThrow("defaults.leastTrust");
  });
});

it("a policy with a misspelt level of trust lets nothing off the device", () => {
  const policy = tablePolicy({ personal: { leastTrust: "Operated" as TrustLevel } });
  const where = {
    dataClass: "personal",
    zone: "eu",
    trust: "attested",
    endpoint: "edge",
    tenant: "local",
  } as const;
  expect(policy.decide({ ...where, reveals: "input" }).allow).toBe(false);
});
