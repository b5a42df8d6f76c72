import fc from "fast-check";
import { expect, it } from "vitest";
import { type TrustLevel, trustRank, zoneWithin } from "../../words/base/index.ts";
import { type PolicyRule, rulePolicy } from "./rule-policy.ts";

const classes = fc.constantFrom("public", "personal", "secret", "__proto__", "unknown");
const zones = fc.constantFrom("eu", "eu/de", "eu/denmark", "us", "device");
const trusts = fc.constantFrom<TrustLevel>("none", "listed", "operated", "vouched", "attested");
const tenants = fc.constantFrom("acme", "shop-1", "shop-2");
const rules = fc.array(
  fc.record(
    {
      classes: fc.array(classes, { minLength: 1, maxLength: 2 }),
      leastTrust: fc.constantFrom<TrustLevel>("listed", "operated", "vouched", "attested"),
      where: fc.constant("longshore.yaml:1"),
      zones: fc.array(fc.constantFrom("eu", "eu/de", "us"), { maxLength: 2 }),
      tenants: fc.array(fc.constantFrom("acme", "shop-*"), { minLength: 1, maxLength: 2 }),
    },
    { requiredKeys: ["classes", "leastTrust", "where"] },
  ),
  { maxLength: 5 },
);

it("lets data go where some rule lets it, and nowhere else but on the device", () => {
  const facts = fc.record({
    dataClass: classes,
    zone: zones,
    trust: trusts,
    tenant: tenants,
    endpoint: fc.constant("e"),
    reveals: fc.constant("input" as const),
  });
  const permits = (
    rule: PolicyRule,
    {
      dataClass,
      zone,
      trust,
      tenant,
    }: { dataClass: string; zone: string; trust: TrustLevel; tenant: string },
  ) =>
    rule.classes.includes(dataClass) &&
    (rule.zones === undefined || zoneWithin(zone, rule.zones)) &&
    trustRank(trust) >= trustRank(rule.leastTrust) &&
    (rule.tenants === undefined ||
      rule.tenants.some((one) => one === tenant || (one === "shop-*" && tenant.startsWith("shop-"))));
  fc.assert(
    fc.property(rules, facts, (some, asked) => {
      const decision = rulePolicy(some, "longshore.yaml:1").decide(asked);
      const allowed = asked.zone === "device" || some.some((rule) => permits(rule, asked));
      expect(decision.allow).toBe(allowed);
      if (!decision.allow) expect(decision.rule).not.toBe("");
    }),
    { numRuns: 2000 },
  );
});

it("names the rule that came nearest", () => {
  const policy = rulePolicy(
    [
      { classes: ["personal"], zones: ["us"], leastTrust: "listed", where: "longshore.yaml:3" },
      { classes: ["personal"], zones: ["eu"], leastTrust: "operated", where: "longshore.yaml:4" },
      { classes: ["personal"], tenants: ["other"], leastTrust: "listed", where: "longshore.yaml:5" },
    ],
    "longshore.yaml:2",
  );
  const asked = { endpoint: "e", reveals: "input", tenant: "acme", zone: "eu/de", trust: "listed" } as const;
  expect(policy.decide({ ...asked, dataClass: "personal" })).toEqual({
    allow: false,
    rule: "personal data goes only to endpoints trusted as operated, and this one is listed (longshore.yaml:4)",
  });
  expect(policy.decide({ ...asked, dataClass: "persnal" })).toMatchObject({
    rule: expect.stringContaining("no rule of longshore.yaml:2 names the data class persnal"),
  });
});

it("says in words that a rule permits no zone", () => {
  const nowhere = {
    classes: ["personal"],
    zones: [],
    leastTrust: "listed",
    where: "longshore.yaml:4",
  } as const;
  const decision = rulePolicy([nowhere], "longshore.yaml:3").decide({
    dataClass: "personal",
    zone: "eu",
    trust: "operated",
    tenant: "acme",
    endpoint: "e",
    reveals: "input",
  });
  expect(decision).toEqual({
    allow: false,
    rule: "personal data stays in no zone, and the zone of this endpoint is eu (longshore.yaml:4)",
  });
});
