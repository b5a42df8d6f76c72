import {
  demandedRank,
  type DataClass,
  type EndpointId,
  LongshoreError,
  type TrustLevel,
  trustRank,
  type ZoneId,
  zoneWithin,
} from "../../words/base/index.ts";
import type { Reveals } from "../../words/model/index.ts";

/** The facts from which a policy decides whether an endpoint may process data. */
export interface PolicyFacts {
  readonly dataClass: DataClass;
  readonly reveals: Reveals;
  readonly endpoint: EndpointId;
  readonly zone: ZoneId;
  readonly trust: TrustLevel;
  readonly tenant: string;
}

/** Decides in microseconds and without waiting; anything unknown is denied. */
export interface Policy {
  /**
   * Its decisions do not depend on which endpoint it is, only on zone and trust: it is then called once for all endpoints that
   * share them. Default false.
   */
  readonly ignoresEndpoint?: boolean;
  /** The data classes that it names. Any other stays on the device. Absent: it does not tell. */
  readonly classes?: readonly DataClass[];
  /**
   * Whether any endpoint but the caller's own machine may process data of a class, whatever its zone and trust. A request that no known
   * endpoint may take waits for servers that are still to come only if so. Default: yes.
   */
  mayLeave?(dataClass: DataClass, tenant: string): boolean;
  decide(facts: PolicyFacts): { readonly allow: true } | { readonly allow: false; readonly rule: string };
}

/** Where one data class may go. */
export interface DataClassRule {
  /** Undefined: any zone. */
  readonly zones?: readonly ZoneId[];
  readonly leastTrust: TrustLevel;
}

/**
 * The built-in policy: a table of data classes. A class that is not in the table, a misspelt word included, may be
 * processed nowhere but on the caller's own machine (zone `device`), where the data is already: there the table asks
 * nothing.
 *
 * @example
 * ```ts
 * import { openOffloader, tablePolicy } from "longshore";
 *
 * // Images of staff go to endpoints of this operator inside the EU; any class that is not here stays on the device.
 * const policy = tablePolicy({ staff: { zones: ["eu"], leastTrust: "operated" } });
 * const offloader = await openOffloader({ repository: "models", policy });
 * await offloader.close();
 * ```
 */
export function tablePolicy(classes: Readonly<Record<DataClass, DataClassRule>>): Policy {
  const table = new Map(Object.entries(classes));
  return {
    ignoresEndpoint: true,
    classes: [...table.keys()],
    mayLeave(dataClass) {
      const rule = table.get(dataClass);
      return rule !== undefined && isElsewhere(rule.zones);
    },
    decide({ dataClass, zone, trust }) {
      if (zone === "device") return allowed;
      const rule = table.get(dataClass);
      if (!rule && dataClass === unstatedClass) return noClass;
      if (!rule) {
        return {
          allow: false,
          rule: `the policy does not know the data class ${dataClass}, only ${namesOf(table.keys())}: such data stays on the device`,
        };
      }
      if (rule.zones && !zoneWithin(zone, rule.zones)) {
        return { allow: false, rule: outsideOf(rule.zones, dataClass, zone) };
      }
      if (trustRank(trust) < demandedRank(rule.leastTrust)) {
        return { allow: false, rule: trustedLess(rule.leastTrust, dataClass, trust) };
      }
      return allowed;
    },
  };
}

const allowed = { allow: true } as const;

/** Data classes in words. */
export function namesOf(classes: Iterable<DataClass>): string {
  return [...classes].join(", ") || "none";
}

/**
 * Refuses a stated data class that the policy does not name: misspelt, it would keep data on the device that may leave it, and nobody
 * would know why. A policy that does not tell its classes refuses none.
 */
export function checkDataClass(
  { classes }: Pick<Policy, "classes">,
  dataClass: DataClass,
  what: string,
  reason: "invalid-input" | "invalid-configuration",
): void {
  if (!classes || dataClass === unstatedClass || classes.includes(dataClass)) return;
  const why = `${what} is '${dataClass.slice(0, 80)}', which the policy does not know: such data would stay on the device; known: ${namesOf(classes)}`;
  throw new LongshoreError(reason, "resolve", why);
}

/** The reason why data of a class may not go to a zone that is none of these. */
export function outsideOf(zones: readonly ZoneId[], dataClass: DataClass, zone: ZoneId): string {
  const those = zones.length === 0 ? "no zone" : `zone ${zones.join(", ")}`;
  return `${dataClass} data stays in ${those}, and the zone of this endpoint is ${zone}`;
}

/** The reason why data of a class may not go to an endpoint that is trusted less than this. */
export function trustedLess(leastTrust: TrustLevel, dataClass: DataClass, trust: TrustLevel): string {
  return `${dataClass} data goes only to endpoints trusted as ${leastTrust}, and this one is ${trust}`;
}

/** Whether zones have more than the caller's own machine. Undefined: any zone. */
export function isElsewhere(zones: readonly ZoneId[] | undefined): boolean {
  return zones === undefined || zones.some((zone) => zone !== "device");
}

/** The data class of a request when neither the caller nor the model states one. */
export const unstatedClass = "unknown";

/** The refusal of data without a class. */
export const noClass = {
  allow: false,
  rule: "the request has no data class, so its data stays on the device; set dataClass in model.yaml or in the call, or --data-class",
} as const;

/** The policy as a server tells it: the refusal of data without a class names what an operator or a sender can do there. */
export function policyAtServer(policy: Policy): Policy {
  return {
    ...(policy.ignoresEndpoint === undefined ? {} : { ignoresEndpoint: policy.ignoresEndpoint }),
    ...(policy.mayLeave ? { mayLeave: policy.mayLeave.bind(policy) } : {}),
    decide(facts) {
      const decision = policy.decide(facts);
      return decision.allow || decision.rule !== noClass.rule ? decision : noClassAtServer;
    },
  };
}

const noClassAtServer = {
  allow: false,
  rule: "the request has no data class, so no server may run it; send the header longshore-rules: class=CLASS, or start the server with --data-class CLASS",
} as const;

/**
 * Public and internal data may go anywhere that the operator listed, personal data only to endpoints of the same operator,
 * restricted data nowhere.
 *
 * @example
 * ```ts
 * import { openOffloader, standardPolicy } from "longshore";
 *
 * // The default, written out.
 * const offloader = await openOffloader({ repository: "models", policy: standardPolicy() });
 * await offloader.close();
 * ```
 */
export function standardPolicy(): Policy {
  return tablePolicy({
    public: { leastTrust: "listed" },
    internal: { leastTrust: "listed" },
    personal: { leastTrust: "operated" },
    restricted: { zones: ["device"], leastTrust: "none" },
  });
}
