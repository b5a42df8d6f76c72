import { basename } from "node:path";
import { LongshoreError, type Policy, standardPolicy, type TrustLevel } from "@longshore/core";
import { type PolicyRule, policyAtServer, rulePolicy } from "@longshore/core/internal";
import type { Accepts } from "@longshore/server";
import type { ConfigurationFile } from "../settings/configuration-file.ts";
import type { LiveSettings } from "../settings/live-settings.ts";
import type { Schema } from "../settings/schema.ts";
import type { Settled } from "../settings/settled.ts";

const word = (title: string): Schema => ({
  type: "string",
  pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
  title,
});
const zone: Schema = {
  type: "string",
  pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$",
  title: "a zone such as eu/de/store-7",
};
const dataClass = word("a data class such as personal");

/** Keys of `policy` in the file that no option has. */
export const policyKeys: Readonly<Record<string, Schema>> = {
  zones: {
    type: "array",
    items: zone,
    minItems: 1,
    description: "Zones for requests that name none. Default: any that the rules allow.",
  },
  accepts: {
    type: "array",
    items: dataClass,
    minItems: 1,
    description:
      "Data classes that may come to this server, in addition to the senders' own rules. Default: those that the rules let into its zone; without rules, all.",
  },
  rules: {
    type: "array",
    minItems: 1,
    description:
      "Where data may go: where at least one rule lets it. Default: public and internal to listed endpoints, personal to operated ones.",
    items: {
      type: "object",
      additionalProperties: false,
      required: ["classes", "trust"],
      properties: {
        classes: {
          type: "array",
          items: dataClass,
          minItems: 1,
          description: "Data classes that the rule lets go.",
        },
        zones: {
          type: "array",
          items: zone,
          minItems: 1,
          description: "Into these zones, and those inside them. Default: any.",
        },
        trust: {
          type: "string",
          enum: ["listed", "operated", "vouched", "attested"],
          description: "To endpoints that are trusted at least so far. Nothing is attested yet.",
        },
        tenants: {
          type: "array",
          minItems: 1,
          items: {
            type: "string",
            pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\\*?$",
            title: "a tenant, or the begin of names and *",
          },
          description: "Of these tenants, by name or trailing *. Default: all.",
        },
      },
    },
  },
};

interface FileRule {
  readonly classes: readonly string[];
  readonly zones?: readonly string[];
  readonly trust: TrustLevel;
  readonly tenants?: readonly string[];
}

const builtIn: readonly string[] = ["public", "internal", "personal", "restricted"];

/** File and line as callers over the network may read them: without folders. */
function shortWhere(file: ConfigurationFile, ...path: readonly (string | number)[]): string {
  return basename(file.where(...path));
}

function rulesOf({ file }: Settled): readonly PolicyRule[] | undefined {
  // The schema of the file has checked what these say.
  const rules = file?.at("policy", "rules") as readonly FileRule[] | undefined;
  if (!file || !rules) return undefined;
  return rules.map(({ classes, zones, trust, tenants }, at) => ({
    classes,
    leastTrust: trust,
    where: shortWhere(file, "policy", "rules", at),
    ...(zones ? { zones } : {}),
    ...(tenants ? { tenants } : {}),
  }));
}

function policyFrom(settled: Settled): Policy | undefined {
  const rules = rulesOf(settled);
  return rules && settled.file && rulePolicy(rules, shortWhere(settled.file, "policy", "rules"));
}

/** A policy that is what the settings say at each moment. */
function livePolicy(live: LiveSettings): Policy {
  let now = policyFrom(live.now()) ?? standardPolicy();
  live.follow((next) => void (now = policyFrom(next) ?? standardPolicy()));
  return {
    ignoresEndpoint: true,
    get classes() {
      return now.classes ?? [];
    },
    mayLeave: (dataClass, tenant) => now.mayLeave?.(dataClass, tenant) !== false,
    decide: (facts) => now.decide(facts),
  };
}

/** Where data may go; nothing without a file, and the built-in policy then holds. */
export function policyPart(live: LiveSettings): { readonly policy?: Policy } {
  return live.now().file ? { policy: livePolicy(live) } : {};
}

/** The data classes that the policy of the settings names, or that this server lets come. */
export function classesOf(live: LiveSettings, allowed: readonly string[] = []): () => readonly string[] {
  return () => {
    const settled = live.now();
    const accepts = (settled.file?.at("policy", "accepts") ?? []) as readonly string[];
    return [
      ...new Set([...((policyFrom(settled) ?? standardPolicy()).classes ?? []), ...accepts, ...allowed]),
    ];
  };
}

/** Zones for requests that name none. */
export function zonesOf({ file }: Settled): { readonly zones?: readonly string[] } {
  const zones = file?.at("policy", "zones") as readonly string[] | undefined;
  return zones ? { zones } : {};
}

/** The most that any endpoint is trusted: how far this server is, its senders decide. */
const mostTrust = "vouched";

/**
 * The data that may come to a server in this zone: the classes that `accepts` lists, and those that the rules let into the
 * zone. Nothing is refused without either.
 */
export function acceptsOf(live: LiveSettings, zone: string): { readonly accepts?: Accepts } {
  if (!live.now().file) return {};
  const from = (settled: Settled): Accepts => {
    const { file } = settled;
    const listed = file?.at("policy", "accepts") as readonly string[] | undefined;
    const policy = policyFrom(settled);
    return (dataClass, tenant) => {
      if (file && listed && !listed.includes(dataClass)) {
        return `${dataClass} data may not come to this server, which takes ${listed.join(", ")} (${shortWhere(file, "policy", "accepts")})`;
      }
      if (!policy) return undefined;
      const facts = { dataClass, reveals: "input", endpoint: "", zone, trust: mostTrust, tenant } as const;
      const decision = policyAtServer(policy).decide(facts);
      return decision.allow ? undefined : decision.rule;
    };
  };
  let now = from(live.now());
  live.follow((next) => void (now = from(next)));
  return { accepts: (dataClass, tenant) => now(dataClass, tenant) };
}

/** Refuses settings that name data classes which nothing defines: a misspelt word keeps all data away, or lets none in. */
export function checkPolicy(settled: Settled): void {
  const { file, options } = settled;
  const rules = rulesOf(settled);
  const known = new Set(rules ? rules.flatMap(({ classes }) => classes) : builtIn);
  const refuse = (what: string, name: string): never => {
    const those = [...known].join(", ");
    const why = `${what} names the data class '${name}', which ${rules ? "no rule of policy.rules has" : "the built-in policy does not have"}; known: ${those}. Data of any other class goes to no server`;
    throw new LongshoreError("invalid-configuration", "resolve", why);
  };
  const accepts = (file?.at("policy", "accepts") ?? []) as readonly string[];
  const stray = accepts.findIndex((name) => !known.has(name));
  const strayName = accepts[stray];
  if (file && strayName !== undefined)
    refuse(`${file.where("policy", "accepts", stray)}: policy.accepts[${stray}]`, strayName);
  // A class that this server allows by name may run here whatever the policy of senders calls it.
  for (const name of (options["allowClasses"] ?? []) as readonly string[]) known.add(name);
  const usual = settled.settings.find(({ path }) => path === "policy.dataClass");
  if (typeof usual?.value !== "string" || usual.value === "unknown" || known.has(usual.value)) return;
  refuse(usual.origin === "file" ? `${usual.where}: policy.dataClass` : usual.where, usual.value);
}
