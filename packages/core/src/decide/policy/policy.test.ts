import { untyped } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import type { TrustLevel, ZoneId } from "../../words/base/index.ts";
import { type Policy, standardPolicy, tablePolicy } from "./policy.ts";
import { rulePolicy } from "./rule-policy.ts";

function goes(policy: Policy, dataClass: string, zone: ZoneId, trust: TrustLevel): boolean | string {
  const decision = policy.decide({
    dataClass,
    reveals: "features",
    endpoint: "somewhere",
    zone,
    trust,
    tenant: "shop",
  });
  return decision.allow || decision.rule;
}

describe("standardPolicy", () => {
  it.each([
    ["public", "us", "listed", true],
    ["public", "us", "none", false],
    ["internal", "eu", "listed", true],
    ["personal", "eu", "listed", false],
    ["personal", "eu", "operated", true],
    ["restricted", "eu", "vouched", false],
    ["restricted", "device", "none", true],
    ["intrenal", "eu", "vouched", false],
    ["intrenal", "device", "none", true],
    ["__proto__", "eu", "vouched", false],
  ] as const)("%s data in %s at trust %s: %s", (dataClass, zone, trust, allowed) => {
    expect(goes(standardPolicy(), dataClass, zone, trust) === true).toBe(allowed);
  });
});

describe("tablePolicy", () => {
  it("lets data into the zones of its class and what lies in them, and names the rule elsewhere", () => {
    const policy = tablePolicy({ personal: { zones: ["eu/de"], leastTrust: "none" } });
    expect(goes(policy, "personal", "eu/de/store-7", "none")).toBe(true);
    expect(goes(policy, "personal", "eu/denmark", "none")).toBe(
      "personal data stays in zone eu/de, and the zone of this endpoint is eu/denmark",
    );
    expect(goes(policy, "typo", "eu/de", "vouched")).toContain("does not know the data class typo");
  });

  it("names the remedy where nobody stated a data class", () => {
    const rule = goes(standardPolicy(), "unknown", "eu/de", "operated");
    expect(rule).toMatch(/^the request has no data class.*dataClass in model\.yaml.*--data-class$/);
  });
});

it("a policy with a misspelt level of trust lets nothing off the device", () => {
  const policy = tablePolicy({ personal: { leastTrust: untyped("Operated") } });
  const where = {
    dataClass: "personal",
    zone: "eu",
    trust: "vouched",
    endpoint: "edge",
    tenant: "local",
  } as const;
  expect(policy.decide({ ...where, reveals: "input" }).allow).toBe(false);
});

it("says of which classes no endpoint may get data, whatever its zone and trust", () => {
  const table = tablePolicy({
    eu: { zones: ["eu"], leastTrust: "none" },
    own: { zones: ["device"], leastTrust: "none" },
  });
  expect(["eu", "own", "misspelt"].map((one) => table.mayLeave?.(one, "acme"))).toEqual([true, false, false]);
  const rules = rulePolicy(
    [{ classes: ["eu"], tenants: ["acme"], zones: ["eu"], leastTrust: "none", where: "f:1" }],
    "f",
  );
  const asked = [
    ["eu", "acme"],
    ["eu", "other"],
    ["own", "acme"],
  ] as const;
  expect(asked.map(([one, tenant]) => rules.mayLeave?.(one, tenant))).toEqual([true, false, false]);
});
