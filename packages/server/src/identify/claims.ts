import { LongshoreError } from "@longshore/core";
import type { JWTPayload } from "jose";
import * as v from "valibot";
import type { Grant } from "./grant.ts";
import { allRights, type Right } from "./identity.ts";
import { withMeaning, rightList, rightSet, strictKeys, tenantName, uriPattern, wordKey } from "./schema.ts";
import { isSpiffeId, uriMatches } from "./uri-pattern.ts";

/** A claim by name, or by the path to it where claims lie inside others. Names are not split: many contain dots. */
type ClaimPath = string | readonly string[];

/** Which tenant a token is of: always the same one, or what a claim says. */
type TenantSource = string | { readonly claim: ClaimPath };

/**
 * Which rights a token gives: always the same, or what the words of a claim stand for. Without `grants` the words are
 * rights themselves.
 */
type RightsSource =
  | readonly Right[]
  | {
      readonly claim: ClaimPath;
      readonly grants?: Readonly<Record<string, readonly Right[]>> | undefined;
    };

/** How the claims of an issuer's tokens become a tenant and rights: by `tenant` and `rights`, or by `subjects`. */
export interface ClaimMapping {
  readonly tenant?: TenantSource | undefined;
  readonly rights?: RightsSource | undefined;
  /** For tokens of workloads (JWT-SVID): the permitted values of `sub`. */
  readonly subjects?:
    | readonly { readonly uri: string; readonly tenant: string; readonly rights: readonly Right[] }[]
    | undefined;
}

const claimPath = v.union([wordKey, v.pipe(v.array(wordKey), v.minLength(1), v.maxLength(8))]);

const tenantSource: v.GenericSchema<TenantSource> = v.union([
  tenantName,
  strictKeys({ claim: withMeaning("Name of the claim, or the path to it.", claimPath) }),
]);

const rightsSource: v.GenericSchema<RightsSource> = v.union([
  rightList,
  strictKeys({
    claim: withMeaning("Name of the claim, or the path to it.", claimPath),
    grants: v.optional(
      withMeaning("Word of the claim to rights. Default: words are rights.", v.record(wordKey, rightList)),
    ),
  }),
]);

const subjectList = v.array(strictKeys({ uri: uriPattern, tenant: tenantName, rights: rightList }));

/** The keys of a token issuer in `identity.yaml` that say what its tokens are worth. */
export const mappingEntries: Readonly<{
  tenant: v.GenericSchema<TenantSource | undefined>;
  rights: v.GenericSchema<RightsSource | undefined>;
  subjects: v.GenericSchema<ClaimMapping["subjects"]>;
}> = {
  tenant: v.optional(withMeaning("Tenant of the sender: a name, or the claim that holds it.", tenantSource)),
  rights: v.optional(withMeaning("Rights: a list, or the claim that holds them.", rightsSource)),
  subjects: v.optional(withMeaning("SPIFFE IDs in `sub`; instead of `tenant` and `rights`.", subjectList)),
};

/** Own properties only: the maker of the token chooses the names of claims. */
function claimAt(claims: JWTPayload, path: ClaimPath): unknown {
  let value: unknown = claims;
  for (const name of typeof path === "string" ? [path] : path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** The words of a claim: a list, or one text with blanks between (OAuth's `scope`). */
function wordsOf(value: unknown): readonly string[] {
  if (typeof value === "string") return value.split(" ").filter((text) => text !== "");
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === "string") : [];
}

function nobody(): LongshoreError {
  return new LongshoreError("not-permitted", "identify", "this token may nothing here");
}

function rightsOf(claims: JWTPayload, source: RightsSource): ReadonlySet<Right> {
  if (!("claim" in source)) return rightSet(source);
  const { grants } = source;
  const words = wordsOf(claimAt(claims, source.claim));
  if (!grants) return rightSet(allRights.filter((right) => words.includes(right)));
  return rightSet(words.flatMap((text) => (Object.hasOwn(grants, text) ? (grants[text] ?? []) : [])));
}

/** The holder of a token. Throws `not-permitted` for a good token that names no tenant, no known subject or no right. */
export function grantOf(claims: JWTPayload, { tenant, rights, subjects }: ClaimMapping): Grant {
  const { sub } = claims;
  const name = `token of ${(sub ?? "nobody").slice(0, 200)}`;
  if (subjects) {
    const found = subjects.find(({ uri }) => sub !== undefined && isSpiffeId(sub) && uriMatches(sub, uri));
    if (!found) throw nobody();
    return { name, tenant: found.tenant, rights: rightSet(found.rights) };
  }
  const told = typeof tenant === "object" ? claimAt(claims, tenant.claim) : tenant;
  const checked = v.safeParse(tenantName, told);
  if (!checked.success || !rights) throw nobody();
  const granted = rightsOf(claims, rights);
  if (granted.size === 0) throw nobody();
  return { name, tenant: checked.output, rights: granted };
}
