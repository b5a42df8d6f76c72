import { abortError, childCall, type EndpointId, LongshoreError } from "../../words/base/index.ts";
import type { Endpoint, InferenceResponse } from "../../wire/endpoint/index.ts";
import type { Leg, Plan } from "../../decide/plan/index.ts";
import { beginning } from "./plan-progress.ts";
import { checkCrossing } from "../steps/index.ts";
import { final, endpointFor, noteConnection } from "../endpoints/index.ts";
import { type Job, noEndpoints } from "./job.ts";
import { stageMs, tallyLocal } from "./learn.ts";
import { legCall, legRequest } from "./leg-request.ts";
import type { Loop, LoopBeliefs, LoopSetting } from "./loop.ts";
import { decide, defaultPlans } from "./decide.ts";
import { countAnswer } from "./carbon.ts";
import { affords, charge, holdFor, overLimit } from "./charge.ts";
import { nextRound, retriesOf } from "./next-round.ts";
import { forgetRefused, withPurse } from "./run-job.ts";
import { beginLeg, endFailedLeg, endLeg, recordBegin, recordEnd } from "./running.ts";
import { newTally, type Tally } from "../account/index.ts";

/**
 * Answers one request (`Job.whole`) any number of times, at one endpoint from start to end. Before the first answer, a failed endpoint is
 * replaced by another. After it the request cannot start again, since it is unknown which answers were given. Throws the error of the last
 * endpoint, or why there is none.
 */
export async function* streamJob(loop: Loop, given: Job): AsyncIterable<InferenceResponse> {
  const job = withPurse(given);
  const { maxPlans = defaultPlans } = loop.parts;
  if (job.confirm) {
    const what = `model ${job.known.description.name} gives several answers to a request, which nobody can confirm`;
    throw new LongshoreError("unsupported", "plan", what);
  }
  const tally = newTally();
  const single = singleAnswerEndpoints(loop);
  const again = retriesOf(loop, job);
  let failed = noEndpoints;
  let broke: LongshoreError | undefined;
  for (;;) {
    let plan: Plan;
    try {
      plan = decide(loop, job, job.held, new Set([...single, ...failed]), broke, tally);
    } catch (thrown) {
      const left = broke && (await nextRound(loop, again, failed, false));
      if (!left) throw thrown;
      failed = left.without;
      continue;
    }
    if (tally.plans.length === 1) loop.probing.askLoads(plan);
    const [leg] = beginning(plan.legs);
    if (!leg) throw new LongshoreError("internal", "plan", "a plan begins with nothing");
    let answered = false;
    try {
      for await (const response of answersAt(loop, job, leg, tally)) {
        answered = true;
        yield response;
      }
      return;
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "execute", `running ${plan.model} at ${leg.endpoint}`);
      const { call } = job;
      if (call.abort.aborted) throw abortError(call.abort, "execute");
      if (answered || final(error) || tally.plans.length >= maxPlans * (1 + (again?.rounds ?? 0)))
        throw error;
      forgetRefused(loop, job, [{ endpoint: leg.endpoint, error }]);
      broke = error;
      again?.failed(leg.endpoint, error);
      failed = new Set([...failed, leg.endpoint]);
    }
  }
}

/** Endpoints that give one answer to a request only. */
function singleAnswerEndpoints({ local, endpoints }: LoopSetting & LoopBeliefs): ReadonlySet<EndpointId> {
  const all = [...(local ? [local] : []), ...Array.from(endpoints.all.values(), ({ endpoint }) => endpoint)];
  if (!all.some(({ capabilities }) => capabilities.inferStream)) {
    throw new LongshoreError(
      "unsupported",
      "plan",
      "no endpoint that is known here gives several answers to a request (one of the plain protocol does where its gRPC is named)",
    );
  }
  return new Set(all.filter(({ capabilities }) => !capabilities.inferStream).map(({ info }) => info.id));
}

/** The answers of one leg, which holds its slot until the last one is read. */
async function* answersAt(loop: Loop, job: Job, leg: Leg, tally: Tally): AsyncIterable<InferenceResponse> {
  const { local, endpoints, clock, self } = loop;
  const { call, known, held, note } = job;
  const here = leg.endpoint === local?.info.id;
  const endpointState = here ? undefined : endpointFor(leg.endpoint, known, endpoints.all);
  const endpoint: Endpoint | undefined = here ? local : endpointState?.endpoint;
  const inferStream = endpoint?.capabilities.inferStream;
  if (!endpoint || !inferStream) {
    throw new LongshoreError("unreachable", "plan", `${leg.endpoint} is not known any more`);
  }
  if (!affords(job, leg)) throw overLimit(job, leg);
  const hold = holdFor(job, leg);
  let spentMicros = 0;
  const child = childCall(call, {
    ...(here ? {} : legCall(self, job, leg)),
    ...(hold ? { maxCostMicros: hold.mostMicros } : {}),
  });
  if (endpointState) noteConnection(endpointState, leg.predicted.sentBytes, clock.nowMs(), true);
  const running = beginLeg(loop, leg, endpointState, child);
  recordBegin(loop, call.id, leg, "begin");
  note?.({ kind: "started", leg: leg.id, endpoint: leg.endpoint, atMs: clock.nowMs() });
  let outcome: Parameters<typeof recordEnd>[3] = "lost";
  let heard = false;
  try {
    const request = legRequest(job, leg, held.tensors, endpoint, here);
    for await (const response of inferStream(request, child.call)) {
      checkCrossing(job, leg.segment, response.outputs, request.outputs, leg.endpoint);
      const { load, account } = response;
      // The load was reported when the answers began, and comes with each of them.
      if (load && !heard) {
        loop.deferred.settle();
        endpointState?.reports.load(load, clock.nowMs(), stageMs(account, "network", "send"));
      }
      heard = true;
      spentMicros += account.costMicros;
      if (here) tallyLocal(loop, job, tally, account);
      else countAnswer(loop, job, account, tally);
      if (hold && spentMicros > hold.mostMicros) throw overLimit(job, leg);
      endpointState?.outcomes.answering(clock.nowMs());
      yield response;
    }
    outcome = "won";
    if (endpointState) endpoints.runs.answered(endpointState, leg.segment, clock.nowMs());
  } catch (thrown) {
    const error = LongshoreError.from(thrown, "execute", `running ${leg.id} at ${leg.endpoint}`);
    outcome = error.reason;
    if (endpointState && !call.abort.aborted)
      endpoints.runs.failed(endpointState, leg.segment, error, clock.nowMs(), running.startedMs, call.tenant);
    throw error;
  } finally {
    // A reader that left early holds nothing up any more.
    if (outcome === "lost")
      child.cancel(new LongshoreError("cancelled", "execute", "the reader of the answers left"));
    child[Symbol.dispose]();
    charge(loop, job, leg.endpoint, spentMicros, hold, tally);
    running.work?.ended();
    running.exchange?.ended(clock.nowMs());
    if (outcome === "won" || outcome === "lost") endLeg(loop, endpointState);
    else endFailedLeg(loop, running, outcome);
    recordEnd(loop, call.id, running, outcome, clock.nowMs());
    endpoints.tables.touched();
  }
}
