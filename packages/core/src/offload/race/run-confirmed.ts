import { childCall, type EndpointId, LongshoreError } from "../../words/base/index.ts";
import { type PendingAnswer, confirmed, comparableAnswer, type NextEndpoint } from "../check/index.ts";
import { arrived, hasArrived } from "../steps/index.ts";
import { overtaken } from "./race-end.ts";
import { type SiblingRuns, type Job, noEndpoints } from "./job.ts";
import type { Loop } from "./loop.ts";
import { final } from "../endpoints/index.ts";
import type { Outcome } from "./outcome.ts";
import { borrowed } from "../../words/tensor/index.ts";
import { addTally, newTally, type Tally } from "../account/index.ts";

/** A missing confirmation is reported this share of the remaining time before the deadline, so that the report arrives. */
const replyRatio = 0.05;
/** The most time before the deadline, in milliseconds. */
const mostReplyMs = 100;

/** Answers a job at an endpoint not in `exclude`. Its first plan is in the tally when this returns. */
type Run = (loop: Loop, job: Job, exclude: ReadonlySet<EndpointId>, tally: Tally) => Promise<Outcome>;

/**
 * Answers a job that two endpoints must answer alike. The rules of the request apply to both, and both run the same variant. The sender
 * receives the progress of the first.
 */
export async function runConfirmed(loop: Loop, job: Job, run: Run): Promise<Outcome> {
  const { call, held } = job;
  // Answers are compared, so they are read here, and so is what several endpoints are sent.
  const { wire: _wire, ...extras } = job.extras ?? {};
  const here = hasArrived(held) ? held : await arrived(held, call);
  const tensors = new Map([...here.tensors].map(([name, tensor]) => [name, borrowed(tensor)]));
  const own = { ...job, extras, held: { ...here, tensors } } satisfies Job;
  const believesHere = job.confirm === "elsewhere";
  /** A trusted run on this device is one of the two. */
  const believed = believesHere ? loop.local?.info.id : undefined;
  const questions: { readonly tally: Tally; readonly mine: Set<EndpointId> }[] = [];
  /** Endpoints that refused as overloaded when last tried. */
  const refused = new Set<EndpointId>();
  let { limits } = own;
  const ask = ({ without, late, beside }: NextEndpoint): PendingAnswer<Outcome> => {
    const child = childCall(call);
    const tally = newTally();
    const note = questions.length === 0 ? own.note : undefined;
    const mine = new Set<EndpointId>();
    const taken = (): ReadonlySet<EndpointId> =>
      new Set(questions.flatMap((one) => (one.mine === mine ? [] : [...one.mine])));
    const knows: SiblingRuns = {
      taken,
      begins(endpoint) {
        refused.delete(endpoint);
        if (endpoint !== believed) mine.add(endpoint);
      },
      refused(endpoint) {
        refused.add(endpoint);
        mine.delete(endpoint);
      },
      late,
      onlyWell: beside === "late",
    };
    const now = { ...own, limits, note, call: child.call, beside: knows };
    // An endpoint that is silent for one of the two would be for the third, and is used only if no other is left. A back-up that was not
    // needed is as good as before.
    const lost = questions.flatMap(({ tally: { lostLegs } }) =>
      lostLegs
        .filter(({ leg, endpoint, why }) => !refused.has(endpoint) && (leg !== "other" || why !== overtaken))
        .map(({ endpoint }) => endpoint),
    );
    const asked = [...without, ...(beside ? taken() : noEndpoints)];
    questions.push({ tally, mine });
    let answer = run(loop, now, new Set([...asked, ...lost]), tally);
    if (beside !== "late" && lost.length > 0 && tally.plans.length === 0) {
      answer.catch(() => undefined);
      answer = run(loop, now, new Set(asked), tally);
    }
    // A run without an endpoint began nothing, so the question may be put again at any moment.
    if (tally.plans.length === 0) questions.pop();
    // Endpoints that were used and did not give this answer may be used again.
    const only = (by: ReadonlySet<EndpointId>): void => mine.forEach((id) => by.has(id) || mine.delete(id));
    const said = answer
      .then((value) => ({ ...comparableAnswer(value, loop.local?.info.id), value }))
      .finally(() => child[Symbol.dispose]());
    said.then(
      ({ by }) => only(by),
      () => only(noEndpoints),
    );
    const [plan] = tally.plans;
    const variant = plan?.legs[0]?.segment.variant;
    if (variant !== undefined) limits = { ...limits, variant };
    const starting = plan?.legs.filter(({ starts }) =>
      starts.some(({ on }) => on === "begin" || on === "done"),
    );
    const first = new Set(starting?.map(({ endpoint }) => endpoint));
    if (believed !== undefined) first.delete(believed);
    const end = (): void =>
      child.cancel(new LongshoreError("cancelled", "execute", "the answer was confirmed"));
    return { first, answer: said, begun: plan !== undefined, end };
  };
  const { name: model } = job.known.description;
  const leftMs = call.deadlineMs - loop.clock.nowMs();
  const { value, by } = await confirmed<Outcome>({
    callId: call.id,
    model,
    checks: loop.health.checks,
    believesHere,
    ask,
    nearlyOver: (tell) =>
      leftMs < Infinity
        ? loop.clock.timer(leftMs - Math.min(mostReplyMs, replyRatio * leftMs), tell)
        : undefined,
    final: (error) => final(error) || call.abort.aborted || loop.clock.nowMs() >= call.deadlineMs,
  });
  for (const { tally } of questions) if (tally !== value.tally) addTally(value.tally, tally);
  if (by === undefined) return value;
  // Each endpoint states its own confidence.
  const { confidenceRatio: _alone, ...response } = value.response;
  return { ...value, response, confirmedBy: by };
}
