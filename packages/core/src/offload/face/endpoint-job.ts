import { type Call, LongshoreError, ownCall, type Writable } from "../../words/base/index.ts";
import { segmentKey, startCut } from "../../words/model/index.ts";
import type { Tensor, Tensors } from "../../words/tensor/index.ts";
import { areHere, bytesOfInputs, type InferenceRequest } from "../../wire/endpoint/index.ts";
import { aimFrom, travellingAim } from "../../decide/goal/index.ts";
import { isInfeasible } from "../../decide/plan/index.ts";
import type { KnownModel } from "../models/index.ts";
import { arrived, type HeldCrossing, isUnrepeatable } from "../steps/index.ts";
import { isReplaced } from "./app-job.ts";
import { confirming, type Job, type Loop, noEndpoints, outlook, refusedNow } from "../race/index.ts";

const noTensors: Tensors = new Map<string, Tensor>();

/**
 * The job of a request from another endpoint, with its crossing. It is synchronous unless the crossing has to be read. Throws
 * `unknown-version` if the request is for other content than is known, and the reason of the refusal if no endpoint may take it.
 */
export function endpointJob(
  loop: Loop,
  known: KnownModel,
  request: InferenceRequest,
  call: Call,
): Job | Promise<Job> {
  const { segment } = request;
  const { digest } = known.description;
  if (segment.digest !== "" && segment.digest !== digest) {
    const what = `${segmentKey(segment)} here is ${digest}, not ${segment.digest.slice(0, 80)}`;
    throw new LongshoreError("unknown-version", "resolve", what);
  }
  const job = jobWithout(loop, known, request, call);
  const held = heldBy(loop, job, request);
  if (held instanceof Promise) return held.then((read) => Object.assign(job, { held: read }));
  return Object.assign(job, { held });
}

/**
 * The crossing of the request. Bodies are read only if an endpoint may take the request, and not here if they can be forwarded as they
 * come.
 */
function heldBy(
  loop: Loop,
  job: Omit<Job, "held">,
  request: InferenceRequest,
): HeldCrossing | Promise<HeldCrossing> {
  const { segment, inputs } = request;
  const bytes = bytesOfInputs(inputs);
  let items: number | undefined;
  for (const { spec } of inputs.values()) if (spec.ragged === true) items ??= spec.shape[0];
  const variant = segment.from === startCut ? undefined : segment.variant;
  const features = items === undefined ? { bytes } : { bytes, items };
  if (areHere(inputs)) return { cut: segment.from, variant, features, bytes, tensors: inputs };
  const arriving = { inputs, body: request.wire?.body };
  const early = { cut: segment.from, variant, features, bytes, tensors: noTensors, arriving };
  if (request.wire && !job.confirm && job.known.description.decoupled !== true) return early;
  const nowMs = loop.clock.nowMs();
  const withEarly = { ...job, held: early };
  const plan = outlook(loop, withEarly, nowMs);
  if (isInfeasible(plan)) throw refusedNow(loop, withEarly, early, noEndpoints, plan, nowMs);
  return arrived(early, job.call);
}

/**
 * After `job` failed with `thrown`: the job of the same request with the current content. A server may have unloaded or replaced the
 * version of the plan, while another server has a version that fits. Throws `thrown` if there is none, if the request names its content, or
 * if its body is no longer here.
 */
export async function renewedEndpointJob(
  loop: Loop,
  thrown: unknown,
  job: Job,
  request: InferenceRequest,
  call: Call,
): Promise<Job> {
  const { segment, sequence } = request;
  const { digest } = job.known.description;
  const open = segment.digest === "" && segment.from === startCut && (sequence?.step ?? 0) === 0;
  if (!isReplaced(thrown, job.known) || !open || isUnrepeatable(job.held)) throw thrown;
  const { knowledge } = loop;
  const version = segment.version === "" ? undefined : segment.version;
  await knowledge.renewed(segment.model, version, digest, call);
  const known = await knowledge.learn(segment.model, version, call);
  if (known.description.digest === digest) throw thrown;
  return endpointJob(loop, known, request, call);
}

/** The job of a request, without its crossing. */
export function jobWithout(
  loop: Loop,
  known: KnownModel,
  request: Omit<InferenceRequest, "inputs" | "codecs">,
  call: Call,
): Omit<Job, "held"> {
  const { variant, to } = request.segment;
  const aim = aimFrom(call.goal, loop.parts.defaults);
  const goal = travellingAim(aim);
  // Endpoints behind this one also use the defaults of this one.
  const toldOn = goal === call.goal ? call : Object.assign(ownCall(call), { goal });
  // An empty name leaves the choice to this endpoint.
  const { objective, minInTimeRatio, minAgreementRatio } = aim;
  const chosen = variant === "" ? aim : { objective, minInTimeRatio, minAgreementRatio, variant };
  const { maxCostMicros } = call;
  const limits = maxCostMicros === undefined ? chosen : { ...chosen, maxCostMicros };
  // Fields are assigned one by one, since this runs for every small request.
  const job: Writable<Omit<Job, "held">> = Object.assign(
    { known, to, extras: request, limits } satisfies Omit<Job, "held" | "call">,
    confirming(loop, toldOn, "everywhere"),
  );
  if (request.explained !== true) job.tells = "nothing";
  if (known.description.decoupled === true) job.whole = true;
  if (request.wire && !loop.local) job.unjudged = true;
  return job;
}
