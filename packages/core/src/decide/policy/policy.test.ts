import { describe, expect, it } from "vitest";
import type { TrustLevel, ZoneId } from "../../words/base/index.ts";
import { type Policy, standardPolicy, tablePolicy } from "./policy.ts";

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
      "personal data stays in eu/de; eu/denmark is outside",
    );
    expect(goes(policy, "typo", "eu/de", "vouched")).toContain("does not know the data class typo");
  });

  it("names the remedy where nobody stated a data class", () => {
    const rule = goes(standardPolicy(), "unknown", "eu/de", "operated");
    expect(rule).toMatch(/^the request has no data class.*dataClass in model\.yaml.*--data-class$/);
  });
});

it("a policy with a misspelt level of trust lets nothing off the device", () => {
  const policy = tablePolicy({ personal: { leastTrust: "Operated" as TrustLevel } });
  const where = {
    dataClass: "personal",
    zone: "eu",
    trust: "vouched",
    endpoint: "edge",
    tenant: "local",
  } as const;
  expect(policy.decide({ ...where, reveals: "input" }).allow).toBe(false);
});
