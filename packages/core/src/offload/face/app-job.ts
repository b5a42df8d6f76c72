import { checkFresh, LongshoreError, ownCall } from "../../words/base/index.ts";
import {
  checkVariant,
  endCut,
  type Inputs,
  startCut,
  takeInputs,
  takeTensors,
} from "../../words/model/index.ts";
import { declaredInputs } from "../../wire/oip/index.ts";
import { checkAim, checkLimits, checkNamed, limitChecks, travellingAim } from "../../decide/goal/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { SequenceStep } from "../sequence/index.ts";
import type { Limits } from "../offloader/index.ts";
import { callFor, confirming, type Job, type Loop, planLimits } from "../race/index.ts";

/** A request from an app. */
export interface AppRequest {
  readonly model: string;
  readonly inputs: Inputs;
  readonly limits: Limits;
  readonly sequence?: SequenceStep | undefined;
  /** Marks a frame of a stream; see `PlanTerms.frame`. */
  readonly frame?: true;
}

/**
 * Everything before the first plan: resolves the model, converts the inputs, fills in rules and limits. The job is returned in a wrapper,
 * so that the caller does not wait for the model's knowledge. Throws what `Offloader.infer` throws for an invalid request.
 */
export function appJob(
  loop: Loop,
  request: AppRequest,
): { readonly job: Job } | Promise<{ readonly job: Job }> {
  const { model, limits } = request;
  checkLimits(limits, limitChecks.ofCalls);
  checkNamed(model);
  const { knowledge, clock } = loop;
  const known = knowledge.settled(model, limits.version, clock.nowMs());
  if (known) return { job: jobWith(loop, known, request) };
  const call = callFor(loop, limits, undefined);
  checkFresh(call, clock.nowMs());
  return knowledge
    .learn(model, limits.version, call)
    .then((learned) => ({ job: jobWith(loop, learned, request, call.deadlineMs) }));
}

function jobWith(
  loop: Loop,
  known: KnownModel,
  { model, inputs, limits, sequence, frame }: AppRequest,
  deadlineMs?: number,
): Job {
  const { description } = known;
  checkVariant(description, limits.variant);
  const call = callFor(loop, limits, description.dataClass);
  if (deadlineMs !== undefined) call.deadlineMs = deadlineMs;
  const declared = declaredInputs(description);
  const { tensors, bytes, features } = declared
    ? takeInputs(model, declared, inputs)
    : takeTensors(model, inputs);
  const planned = planLimits(loop, limits);
  checkAim(planned, call.deadlineMs);
  call.goal = travellingAim(planned);
  noteUse(loop, model, limits.version, planned, "begins");
  return {
    known,
    held: { cut: startCut, variant: undefined, tensors, bytes, features },
    to: endCut,
    limits: planned,
    ...(planned.objective === "throughput" ? { traffic: loop.frames.backlog } : {}),
    // Apps trust the device they run on, so its own answers need no confirmation.
    ...confirming(loop, call, "elsewhere"),
    sequence,
    note: limits.progress,
    ...(frame ? { frame } : {}),
    // A named endpoint runs all of it: a part of it would run somewhere else.
    ...(limits.only === undefined && description.decoupled !== true ? {} : { whole: true }),
  };
}

/** Records the use of a model. Only an energy-saving objective also records the end of the use. */
export function noteUse(
  { clock, knowledge }: Loop,
  model: string,
  version: string | undefined,
  limits: Job["limits"],
  when: "begins" | "over",
): void {
  if (limits.objective === "energy") knowledge.used(model, version, clock.nowMs(), when);
  else if (when === "begins") knowledge.used(model, version, clock.nowMs());
}

/**
 * After `job` failed with `thrown`: the same job for the content that has replaced its model meanwhile. Throws `thrown` if no content has,
 * or if a sequence has begun, because its state is invalid for other content.
 */
export async function renewedJob(loop: Loop, thrown: unknown, job: Job, request: AppRequest): Promise<Job> {
  if (!isReplaced(thrown, job.known) || (job.sequence?.step ?? 0) > 0) throw thrown;
  const { knowledge } = loop;
  const { model, limits } = request;
  const { digest } = job.known.description;
  await knowledge.renewed(model, limits.version, digest, job.call);
  const known = await knowledge.learn(model, limits.version, job.call);
  if (known.description.digest === digest) throw thrown;
  const { held, call } = jobWith(loop, known, { ...request, sequence: undefined });
  // The new content may have another data class. The rest of the call stays the same.
  return { ...job, known, held, call: Object.assign(ownCall(job.call), { rules: call.rules }) };
}

/** Whether an endpoint does not have the requested content, or none is left while other content is elsewhere. */
export const isReplaced = (thrown: unknown, { behind }: KnownModel): boolean =>
  LongshoreError.is(thrown) &&
  (thrown.reason === "unknown-version" ||
    thrown.reason === "unknown-model" ||
    (behind && thrown.reason === "no-endpoint"));
