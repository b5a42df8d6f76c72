import type { DataClass, EndpointId, TrustLevel, ZoneId } from "../base/index.ts";
import type { Reveals } from "../model/index.ts";

/** What a policy is asked: may this data be processed there? */
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
  decide(facts: PolicyFacts): { readonly allow: true } | { readonly allow: false; readonly rule: string };
}

/** Where one data class may go. */
export interface DataClassRule {
  /** Undefined: any zone. */
  readonly zones?: readonly ZoneId[];
  readonly leastTrust: TrustLevel;
}
