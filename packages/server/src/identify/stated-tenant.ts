import { LongshoreError, type WireRequest } from "@longshore/core";
import { rightsHeader, tenantHeader } from "@longshore/core/internal";
import type { Grant } from "./grant.ts";
import { allRights, type Right } from "./identity.ts";
import type { Tenants } from "./tenants.ts";

/** For whom a request is, as its sender states it. */
export interface StatedTenant {
  /** Undefined: for the sender's own tenant. */
  readonly tenant: string | undefined;
  /** The most that the request may; undefined for all that the sender may. */
  readonly rights: ReadonlySet<Right> | undefined;
}

const statedRights = (text: string): ReadonlySet<Right> => {
  const words = text.split(",").map((one) => one.trim());
  return new Set(allRights.filter((right) => words.includes(right)));
};

/**
 * Reads which tenant a request is for. Every sender may give up rights; only senders configured to do so may speak for another
 * tenant, and without stated rights that means no more than `infer`. Throws `not-permitted` otherwise: to run the request as
 * the sender's own would mix what two tenants keep here.
 */
export function statedTenant({ headers }: WireRequest, grant: Grant, tenants: Tenants): StatedTenant {
  const told = headers[tenantHeader];
  const stated = headers[rightsHeader];
  const rights = stated === undefined ? undefined : statedRights(stated);
  if (told === undefined || told === grant.tenant) return { tenant: undefined, rights };
  const { speaksFor } = grant;
  const allowed = speaksFor !== undefined && (speaksFor === "*" || speaksFor.includes(told));
  if (!allowed || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(told) || !tenants.has(told)) {
    throw new LongshoreError("not-permitted", "identify", "this sender does not speak for that tenant");
  }
  return { tenant: told, rights: rights ?? new Set<Right>(["infer"]) };
}
