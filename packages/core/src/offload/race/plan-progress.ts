import type { EndpointId, LongshoreError } from "../../words/base/index.ts";
import { latestOf, type Leg, type LegId, type Plan, waitsFor } from "../../decide/plan/index.ts";
import type { Tensors } from "../../words/tensor/index.ts";
import type { Retries } from "./retries.ts";

/** A leg that failed. */
interface FailedLeg {
  readonly endpoint: EndpointId;
  readonly error: LongshoreError;
}

/** How far a plan has come. */
export interface PlanProgress {
  /** The plan, with the legs that were added to it. */
  plan: Plan;
  readonly started: Set<LegId>;
  outputs: ReadonlyMap<LegId, Tensors>;
  failed: ReadonlyMap<LegId, FailedLeg>;
  /** Legs in whose place others were started. */
  givenUp: ReadonlySet<LegId>;
  /** Endpoints at which nothing is started in addition. */
  readonly exclude: ReadonlySet<EndpointId>;
  /** Retries of its request at endpoints that failed it; undefined if each endpoint is tried once. */
  readonly again: Retries | undefined;
}

// Most plans have one leg, which answers. They share these.
const noOutputs: PlanProgress["outputs"] = new Map();
const noneFailed: PlanProgress["failed"] = new Map();
const noneGivenUp: PlanProgress["givenUp"] = new Set();

/** A plan of which nothing has begun. */
export function planProgressOf(
  plan: Plan,
  exclude: ReadonlySet<EndpointId>,
  again: Retries | undefined,
): PlanProgress {
  return {
    plan,
    started: new Set(),
    outputs: noOutputs,
    failed: noneFailed,
    givenUp: noneGivenUp,
    exclude,
    again,
  };
}

/** The legs that wait for nothing. */
export function beginning(legs: readonly Leg[]): readonly Leg[] {
  return legs.filter(({ starts }) => starts.some(({ on }) => on === "begin"));
}

/** Whether what a leg waits for has failed. */
export function waitedFor({ starts, takes }: Leg, { outputs, failed }: PlanProgress): boolean {
  if (takes !== "request" && !outputs.has(takes)) return false;
  return starts.some((one) => one.on === "failed" && failed.has(one.leg));
}

/** The leg that starts in place of a late one. A leg that waits for a failure also starts when no other leg can succeed. */
export function backUpOf(leg: Leg, progress: PlanProgress): Leg | undefined {
  const waiting = progress.plan.legs.filter(({ id }) => !progress.started.has(id));
  return (
    waiting.find((one) => latestOf(one, leg) !== undefined) ??
    waiting.find((one) => waitsFor(one, leg) || waitedFor(one, progress))
  );
}

/** Whether the intermediate output of a leg ends this plan, so that the next plan begins with it, whatever is still `underWay`. */
export function endsPlan(
  { id, segment }: Leg,
  elsewhere: boolean,
  { plan: { legs }, givenUp }: PlanProgress,
  underWay: readonly { readonly leg: Leg }[],
): boolean {
  if (elsewhere && legs.some(({ takes }) => takes === id)) return false;
  const [other] = underWay;
  // Legs that back each other up end at the same cut.
  if (!other || (elsewhere && other.leg.segment.to === segment.to)) return true;
  const followed = legs.some(({ starts }) => starts.some((one) => one.on === "done" && one.leg === id));
  // A leg that was added beside a hanging one may end earlier. The hanging one is not waited for.
  return !followed && underWay.every(({ leg }) => givenUp.has(leg.id));
}
