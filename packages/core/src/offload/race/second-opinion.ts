import { atDeadline, type EndpointId, LongshoreError, ownCall } from "../../words/base/index.ts";
import type { Opinion, AnsweredRequest } from "../check/index.ts";
import { type InferenceResponse, isArriving } from "../../wire/endpoint/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import { isThrifty } from "../../decide/goal/index.ts";
import { isInfeasible, type Leg } from "../../decide/plan/index.ts";
import { copied } from "../../words/tensor/index.ts";
import { arrived, type HeldCrossing, hasArrived } from "../steps/index.ts";
import { type Job, noEndpoints, type Plannable } from "./job.ts";
import { legCall, legRequest } from "./leg-request.ts";
import { pausedEndpoints, endpointFor } from "../endpoints/index.ts";
import type { Loop } from "./loop.ts";
import { countAnswer } from "./carbon.ts";
import { charge } from "./charge.ts";
import { tallyLocal } from "./learn.ts";
import { endLeg } from "./running.ts";
import { newTally } from "../account/index.ts";

/** The longest time that a check may take, in milliseconds. */
const longestMs = 30_000;
/** The shortest limit of a check, in milliseconds. */
const shortestMs = 1000;
/** The limit as a multiple of the expected time of the check. */
const patience = 20;

/**
 * Checks a share of the answers: runs the same part of the model once more after the reply, at an endpoint that the plan could have chosen.
 * Inputs and answer are copied at once, since they belong to the caller afterwards. Steps of sequences are not repeated, nor requests whose
 * objective is energy or cost.
 */
export function runSecondOpinion(
  loop: Loop,
  job: Plannable,
  held: HeldCrossing,
  { leg, response }: { readonly leg: Leg; readonly response: InferenceResponse },
): void {
  const {
    health: { checks },
    local,
  } = loop;
  if (!checks || leg.endpoint === local?.info.id) return;
  checks.gave(leg.endpoint);
  if (leg.takes !== "request") return;
  if (job.sequence || job.extras?.classes || job.known.description.decoupled === true) return;
  if (job.purse || isThrifty(job.limits.objective) || held.cut !== leg.segment.from) return;
  if (!checks.wants(leg.endpoint, held.bytes)) return;
  // A reply that is passed on while it arrives is not kept for comparison.
  if (isArriving(response)) return;
  const { pass: _pass, wire: _wire, ...asked } = job.extras ?? {};
  const again = async (): Promise<Job> => ({
    known: job.known,
    held: await own,
    to: job.to,
    limits: { ...job.limits, variant: leg.segment.variant },
    call: job.call,
    whole: true,
    extras: asked,
  });
  const own = hasArrived(held)
    ? Promise.resolve({ ...held, tensors: copied(held.tensors) })
    : arrived(held, job.call);
  // The error reaches the caller.
  own.catch(() => undefined);
  void checks.examine({
    callId: job.call.id,
    model: job.known.description.name,
    answer: {
      endpoint: leg.endpoint,
      here: false,
      outputs: copied(response.outputs),
      agreementRatio: leg.predicted.agreementRatio,
    },
    ask: async (from) => ask(loop, await again(), from),
  });
}

/** One more opinion, under the rules of the request. */
async function ask(
  loop: Loop,
  job: Job,
  { without, only }: Parameters<AnsweredRequest["ask"]>[0],
): Promise<Opinion | undefined> {
  const { clock, local, endpoints } = loop;
  const here = local?.info.id;
  if (only === "here" && (here === undefined || !job.known.here)) return undefined;
  const wanted = only === "here" ? here : only;
  const others = (wanted: EndpointId): ReadonlySet<EndpointId> =>
    new Set([...endpoints.all.keys(), ...(here === undefined ? [] : [here])].filter((id) => id !== wanted));
  const nowMs = clock.nowMs();
  const control = new AbortController();
  const { idempotencyKey: _done, priority: _urgency, ...call } = job.call;
  const asked: Job = {
    ...job,
    call: { ...call, id: `${call.id}-check`, abort: control.signal, deadlineMs: nowMs + longestMs },
  };
  // Nothing is fetched only to check an answer.
  const present = loop.device.warmth.here;
  const at = (exclude: ReadonlySet<EndpointId>, proving?: EndpointId, only = present) => {
    const plan = loop.plan(asked, asked.held, exclude, nowMs, { only, proving });
    const leg = isInfeasible(plan) ? undefined : plan.legs[0];
    return leg?.segment.to === job.to ? leg : undefined;
  };
  let leg =
    wanted === undefined
      ? at(without ?? noEndpoints)
      : at(others(wanted), only === "here" ? undefined : wanted);
  if (!leg && wanted === undefined && present) {
    // An endpoint that was found cold is loading the model for a request that it was sent: it can answer a check, too.
    leg = at(without ?? noEndpoints, undefined, (id, part) => id !== here || present(id, part));
  }
  if (!leg && wanted === undefined) {
    // With two that disagree and all others paused, the wrong one could be believed. No request waits for a check, so paused endpoints are
    // used, too.
    for (const id of pausedEndpoints(endpoints.all, without ?? noEndpoints)) leg ??= at(others(id), id);
  }
  if (!leg) return undefined;
  // Limits concurrent checks: at silent endpoints they would keep others from being checked.
  const waitMs = Math.min(longestMs, Math.max(shortestMs, patience * meanOf(leg.predicted.completionMs)));
  const late = `${leg.endpoint} did not answer a check`;
  using _late = atDeadline(clock, nowMs + waitMs, () =>
    control.abort(new LongshoreError("no-answer", "execute", late)),
  );
  return await opinion(loop, asked, leg);
}

async function opinion(loop: Loop, job: Job, leg: Leg): Promise<Opinion | undefined> {
  const { clock, local, endpoints, device, self } = loop;
  const here = leg.endpoint === local?.info.id;
  const endpointState = here ? undefined : endpointFor(leg.endpoint, job.known, endpoints.all);
  const endpoint = here ? local : endpointState?.endpoint;
  if (!endpoint) return undefined;
  const nowMs = clock.nowMs();
  const alone = endpointState?.health.unavailable(nowMs) !== undefined;
  const run = here ? device.work.begin(leg.holdsMs ?? meanOf(leg.predicted.completionMs), nowMs) : undefined;
  endpointState?.legs.began(leg.travels?.promisedMs ?? 0, nowMs);
  let answeredAtMs: number | undefined;
  try {
    const call = here ? job.call : Object.assign(ownCall(job.call), legCall(self, job, leg));
    const { outputs, account } = await endpoint.infer(
      legRequest(job, leg, job.held.tensors, endpoint, here),
      call,
    );
    charge(loop, job, leg.endpoint, account.costMicros, undefined, newTally());
    if (here) tallyLocal(loop, job, newTally(), account);
    else countAnswer(loop, job, account, newTally());
    answeredAtMs = clock.nowMs();
    return { endpoint: leg.endpoint, here, outputs, agreementRatio: leg.predicted.agreementRatio };
  } catch (thrown) {
    const error = LongshoreError.from(thrown, "execute", "running a check");
    // A paused endpoint that fails a check is not paused for longer.
    if (endpointState && !alone)
      endpoints.runs.failed(endpointState, leg.segment, error, clock.nowMs(), nowMs, job.call.tenant);
    throw thrown;
  } finally {
    run?.ended();
    endLeg(loop, endpointState, answeredAtMs);
    endpoints.tables.touched();
  }
}
