import { LongshoreError } from "@longshore/core";
import * as v from "valibot";
import type { Grant } from "./grant.ts";
import type { Identity, Right } from "./identity.ts";
import { withMeaning, rightList, strictKeys, wordKey } from "./schema.ts";

/** A model by name, or by a trailing `*` all whose names begin so. */
const modelPattern = v.pipe(wordKey, v.regex(/^[^*]*\*?$/, "may have a '*' at its end only"));

/** An operator's rule for one tenant. */
export interface TenantRule {
  /** Models that it sees; undefined for all. */
  readonly models?: readonly string[] | undefined;
  /** The most that its members may; undefined for whatever their credentials say. */
  readonly rights?: readonly Right[] | undefined;
  /** Share of device time against others' when there is not enough for all. Default 1. */
  readonly weight?: number | undefined;
}

/** An entry of `tenants:` in `identity.yaml`. */
export const tenantSchema: v.GenericSchema<TenantRule> = strictKeys({
  models: v.optional(
    withMeaning("Models that the tenant sees, by name or trailing `*`. Default: all.", v.array(modelPattern)),
  ),
  rights: v.optional(
    withMeaning(
      "The upper limit of its members' rights. Default: the rights of their credentials.",
      rightList,
    ),
  ),
  weight: v.optional(
    withMeaning("Share of device time. Default: 1.", v.pipe(v.number(), v.minValue(0.001), v.maxValue(1000))),
  ),
});

/** Tenants by name; `*` for those that are not named. */
export type TenantRules = Readonly<Record<string, TenantRule>>;

/** Share of a tenant, or of those that are not named; 1 where nothing is said. */
export function weightOf(rules: TenantRules | undefined, tenant: string): number {
  const named = rules !== undefined && Object.hasOwn(rules, tenant) ? rules[tenant] : rules?.["*"];
  return named?.weight ?? 1;
}

/** The upper limit of a tenant's view and rights; undefined for no limit. */
interface Bounds {
  readonly sees?: (model: string) => boolean;
  readonly rights?: ReadonlySet<Right>;
}

function visible(patterns: readonly string[]): (model: string) => boolean {
  const exact = new Set(patterns.filter((pattern) => !pattern.endsWith("*")));
  const starts = patterns.filter((pattern) => pattern.endsWith("*")).map((pattern) => pattern.slice(0, -1));
  return (model) => exact.has(model) || starts.some((start) => model.startsWith(start));
}

/** Which tenants there are, and what each may at most. */
export interface Tenants {
  /** Whether there is such a tenant: any when none are listed. */
  has(tenant: string): boolean;
  bounds(tenant: string): Bounds;
}

/** @param rules Undefined: any tenant, without bounds. */
export function tenantsOf(rules: TenantRules | undefined): Tenants {
  const bounds = new Map(
    Object.entries(rules ?? { "*": {} }).map(([tenant, { models, rights }]): [string, Bounds] => [
      tenant,
      {
        ...(models ? { sees: visible(models) } : {}),
        ...(rights ? { rights: new Set(rights) } : {}),
      },
    ]),
  );
  const find = (tenant: string): Bounds | undefined => bounds.get(tenant) ?? bounds.get("*");
  return {
    has: (tenant) => find(tenant) !== undefined,
    bounds: (tenant) => find(tenant) ?? { sees: () => false, rights: new Set() },
  };
}

const both = (
  a: ((model: string) => boolean) | undefined,
  b: ((model: string) => boolean) | undefined,
): ((model: string) => boolean) | undefined => (a && b ? (model) => a(model) && b(model) : (a ?? b));

const common = (a: ReadonlySet<Right>, b: ReadonlySet<Right> | undefined): ReadonlySet<Right> =>
  b ? new Set([...a].filter((right) => b.has(right))) : a;

/**
 * The identity that a grant makes, for its own tenant or for the tenant that it speaks for. In the second case it has only the
 * rights that both have, so that speaking for another never adds any.
 *
 * @param asTenant The tenant spoken for; undefined for its own.
 * @param stated Rights that the sender passes on; undefined for all.
 */
export function identityOf(
  grant: Grant,
  tenants: Tenants,
  asTenant: string | undefined,
  stated: ReadonlySet<Right> | undefined,
): Identity {
  if (!tenants.has(grant.tenant)) {
    throw new LongshoreError("not-permitted", "identify", "the sender's tenant is not one of this server");
  }
  const own = tenants.bounds(grant.tenant);
  const other = asTenant === undefined ? {} : tenants.bounds(asTenant);
  const sees = both(own.sees, other.sees);
  return {
    tenant: asTenant ?? grant.tenant,
    rights: common(common(common(grant.rights, own.rights), other.rights), stated),
    ...(grant.known === undefined ? {} : { known: grant.known }),
    ...(sees ? { sees } : {}),
  };
}
