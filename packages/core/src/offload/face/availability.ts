import { checkFresh, LongshoreError, type Reason } from "../../words/base/index.ts";
import { checkVariant, endCut, type Segment, startCut } from "../../words/model/index.ts";
import { checkLimits, checkNamed, limitChecks } from "../../decide/goal/index.ts";
import { type Infeasible, isInfeasible, type Plan } from "../../decide/plan/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { Availability, Limits } from "../offloader/index.ts";
import { callFor, confirming, type Job, type Loop, planLimits } from "../race/index.ts";
import { endpointsByStep } from "../steps/index.ts";

/** Errors of the question itself. With any other error no endpoint described the model. */
const ownErrors: ReadonlySet<Reason> = new Set(["cancelled", "invalid-input", "shutting-down"]);

/**
 * Whether a request for a model with these limits could run now. Plans such a request without inputs, since rules, limits and the health of
 * endpoints count as in any request. Polls endpoints if nothing is known of the model or the last poll is too old.
 *
 * @param isPreparing Whether `prepare` is loading the model.
 */
export async function availabilityOf(
  loop: Loop,
  model: string,
  limits: Limits,
  isPreparing: () => boolean,
): Promise<Availability> {
  checkLimits(limits, limitChecks.ofCalls);
  checkNamed(model);
  const { knowledge, clock } = loop;
  const call = callFor(loop, limits, undefined);
  // The deadline that requests have by default is too short for a poll of all endpoints.
  if (limits.deadlineMs === undefined) call.deadlineMs = Infinity;
  checkFresh(call, clock.nowMs());
  try {
    const known = await knowledge.learn(model, limits.version, call, true);
    const { availability, isHere } = availabilityNow(loop, known, limits, isPreparing);
    // This device needs no poll.
    if (isHere) return availability;
    const polled = await knowledge.polled(model, limits.version, call, availability !== "available");
    return polled ? availabilityNow(loop, polled, limits, isPreparing).availability : availability;
  } catch (thrown) {
    if (!LongshoreError.is(thrown) || ownErrors.has(thrown.reason)) throw thrown;
    return "unavailable";
  }
}

function availabilityNow(
  loop: Loop,
  known: KnownModel,
  limits: Limits,
  isPreparing: () => boolean,
): { readonly availability: Availability; readonly isHere: boolean } {
  const { description } = known;
  checkVariant(description, limits.variant);
  const { local } = loop;
  const { here, fetches } = loop.device.warmth;
  const nowMs = loop.clock.nowMs();
  const job: Job = {
    known,
    held: { cut: startCut, variant: undefined, tensors: new Map(), bytes: 0, features: { bytes: 0 } },
    to: endCut,
    limits: planLimits(loop, limits),
    ...confirming(loop, callFor(loop, limits, description.dataClass), "elsewhere"),
    tells: "nothing",
    ...(limits.only === undefined ? {} : { whole: true }),
  };
  const planFor = (only?: typeof here): Plan | Infeasible =>
    loop.plan(job, job.held, new Set(), nowMs, { only });
  const plan = planFor(here);
  if (!isInfeasible(plan)) {
    const isHere = plan.legs.every(({ endpoint }) => endpoint === local?.info.id);
    return { availability: hasEachStep(loop, known, nowMs) ? "available" : "unavailable", isHere };
  }
  if (!here || isInfeasible(planFor())) return { availability: "unavailable", isHere: false };
  const { name, version, digest, variants } = description;
  const whole = (variant: string): Segment => ({
    model: name,
    version,
    digest,
    variant,
    from: startCut,
    to: endCut,
  });
  const fetched =
    isPreparing() ||
    (local !== undefined && variants.some(({ name: one }) => fetches(local.info.id, whole(one))));
  return { availability: fetched ? "downloading" : "downloadable", isHere: false };
}

/** Whether some endpoint answers for each step of a pipeline whose model is not here. A plan ends at the first such step. */
function hasEachStep({ endpoints, parts }: Loop, known: KnownModel, nowMs: number): boolean {
  if (known.whole || !known.here) return true;
  const failingMs = endpoints.runs.failingMs(known, parts.defaults?.tenant ?? "local", nowMs);
  return endpointsByStep(known).every((ids) =>
    ids.some(
      (id) =>
        endpoints.all.get(id)?.health.unavailable(nowMs) === undefined &&
        endpoints.all.has(id) &&
        failingMs(id) < Infinity,
    ),
  );
}
