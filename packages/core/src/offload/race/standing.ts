import type { EndpointId, LongshoreError } from "../../words/base/index.ts";
import { latestOf, type Leg, type LegId, type Plan, waitsFor } from "../../decide/plan/index.ts";
import type { Tensors } from "../../words/tensor/index.ts";

/** How far a plan has come. */
export interface Standing {
  /** With the legs of those that were made beside it. */
  plan: Plan;
  readonly started: Set<LegId>;
  readonly outputs: Map<LegId, Tensors>;
  readonly failed: Map<LegId, { readonly endpoint: EndpointId; readonly error: LongshoreError }>;
  /** In whose endpoint others were begun. */
  readonly givenUp: Set<LegId>;
  /** Where nothing is begun beside it. */
  readonly exclude: ReadonlySet<EndpointId>;
}

/** A plan of which nothing has begun. */
export function standingOf(plan: Plan, exclude: ReadonlySet<EndpointId>): Standing {
  return { plan, started: new Set(), outputs: new Map(), failed: new Map(), givenUp: new Set(), exclude };
}

/** The legs that wait for nothing. */
export function beginning(legs: readonly Leg[]): readonly Leg[] {
  return legs.filter(({ starts }) => starts.some(({ on }) => on === "begin"));
}

/** Whether what a leg waits for has failed. */
export function waitedFor({ starts, takes }: Leg, { outputs, failed }: Standing): boolean {
  if (takes !== "request" && !outputs.has(takes)) return false;
  return starts.some((one) => one.on === "failed" && failed.has(one.leg));
}

/** What starts in place of a leg that is late. One that waits for a failure starts when nothing is to be hoped for any more, too. */
export function backUpOf(leg: Leg, standing: Standing): Leg | undefined {
  const waiting = standing.plan.legs.filter(({ id }) => !standing.started.has(id));
  return (
    waiting.find((one) => latestOf(one, leg) !== undefined) ??
    waiting.find((one) => waitsFor(one, leg) || waitedFor(one, standing))
  );
}

/** Whether what a leg gave, which is not the answer, is what the next plan begins with, whatever of this one is still `underWay`. */
export function endsPlan(
  { id, segment }: Leg,
  elsewhere: boolean,
  { plan: { legs }, givenUp }: Standing,
  underWay: readonly { readonly leg: Leg }[],
): boolean {
  if (elsewhere && legs.some(({ takes }) => takes === id)) return false;
  const [other] = underWay;
  // What stands by for one another ends at the same cut.
  if (!other || (elsewhere && other.leg.segment.to === segment.to)) return true;
  const followed = legs.some(({ starts }) => starts.some((one) => one.on === "done" && one.leg === id));
  // What was made beside a leg that hangs may end before it would: nobody waits for that one.
  return !followed && underWay.every(({ leg }) => givenUp.has(leg.id));
}
