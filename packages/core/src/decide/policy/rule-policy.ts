import {
  type DataClass,
  demandedRank,
  type TenantId,
  type TrustLevel,
  trustRank,
  type ZoneId,
  zoneWithin,
} from "../../words/base/index.ts";
import {
  isElsewhere,
  namesOf,
  noClass,
  outsideOf,
  type Policy,
  type PolicyFacts,
  trustedLess,
  unstatedClass,
} from "./policy.ts";

/** A rule: data of these classes, of these tenants, may be processed in these zones by endpoints that are trusted as far. */
export interface PolicyRule {
  readonly classes: readonly DataClass[];
  /** By name, or a trailing `*` for all whose names begin so. Undefined: all tenants. */
  readonly tenants?: readonly TenantId[];
  /** Undefined: any zone. */
  readonly zones?: readonly ZoneId[];
  readonly leastTrust: TrustLevel;
  /** Where the rule stands, such as `longshore.yaml:12`, for explanations. */
  readonly where: string;
}

const named = (patterns: readonly string[], tenant: string): boolean =>
  patterns.some((one) => (one.endsWith("*") ? tenant.startsWith(one.slice(0, -1)) : one === tenant));

/** Why a rule for this class does not let data go there, and how near it came: 0 to 2. Undefined when it lets it. */
function obstacle(
  rule: PolicyRule,
  { dataClass, zone, trust, tenant }: PolicyFacts,
): { readonly near: number; readonly why: string } | undefined {
  const { tenants, zones, leastTrust } = rule;
  if (tenants && !named(tenants, tenant)) {
    return {
      near: 0,
      why: `${dataClass} data is for tenants ${tenants.join(", ")}; the tenant is ${tenant}`,
    };
  }
  if (zones && !zoneWithin(zone, zones)) {
    return { near: 1, why: outsideOf(zones, dataClass, zone) };
  }
  if (trustRank(trust) >= demandedRank(leastTrust)) return undefined;
  return { near: 2, why: trustedLess(leastTrust, dataClass, trust) };
}

/**
 * A policy of rules, each of which permits something: data may go where at least one rule lets it, and nowhere else but on the caller's own
 * machine, where it is already. A class that no rule names stays there. A refusal names the rule that came nearest to permitting it.
 *
 * @param where The list of rules, such as `longshore.yaml:8`, for explanations.
 */
export function rulePolicy(rules: readonly PolicyRule[], where: string): Policy {
  const byClass = new Map<DataClass, PolicyRule[]>();
  for (const rule of rules) {
    for (const dataClass of rule.classes) {
      const known = byClass.get(dataClass);
      if (known) known.push(rule);
      else byClass.set(dataClass, [rule]);
    }
  }
  return {
    ignoresEndpoint: true,
    classes: [...byClass.keys()],
    mayLeave(dataClass, tenant) {
      const own = byClass.get(dataClass) ?? [];
      return own.some(({ tenants, zones }) => isElsewhere(zones) && (!tenants || named(tenants, tenant)));
    },
    decide(facts) {
      const { dataClass, zone } = facts;
      if (zone === "device") return { allow: true };
      const own = byClass.get(dataClass);
      if (!own) {
        if (dataClass === unstatedClass) return noClass;
        const rule = `no rule of ${where} names the data class ${dataClass}, only ${namesOf(byClass.keys())}: such data stays on the device`;
        return { allow: false, rule };
      }
      let nearest = { near: -1, rule: "" };
      for (const rule of own) {
        const found = obstacle(rule, facts);
        if (!found) return { allow: true };
        if (found.near > nearest.near) nearest = { near: found.near, rule: `${found.why} (${rule.where})` };
      }
      return { allow: false, rule: nearest.rule };
    },
  };
}
