import type { Random, Writable } from "../../words/base/index.ts";
import { because, type Explained, whyNone } from "./explain.ts";
import { localObstacle } from "./filter/local-endpoint.ts";
import { unknownMicros } from "./cost.ts";
import { besideBest, choose, type LocalCandidate, localCandidates, remoteFinalists } from "./finalists.ts";
import { keepsDeadline } from "./guarded.ts";
import { localLegs, remoteLegs } from "./legs.ts";
import { choicesOf } from "./choices.ts";
import { noOptions, optionsOf } from "./options.ts";
import { lostLines } from "./lost-lines.ts";
import type { Infeasible, Leg, Plan } from "./plan.ts";
import { type Priced, predictedOf } from "./priced.ts";
import { type PlanScratch, planScratch } from "./plan-scratch.ts";
import type { PlanRequest } from "./request.ts";
import { noFindings, scan } from "./scan.ts";
import type { Question } from "./question.ts";
import { type Goal, goalOf, hopeful, isOnly } from "../goal/index.ts";
import type { View } from "./view.ts";

/**
 * Decides where one request runs: resolve > filter > score > pick, explained. Synchronous and pure: the same request,
 * view, instant and draws give the same plan.
 *
 * The deadline is judged by the mean, by the percentile that is made small, or by the share of cases in which the request wants it
 * kept; where a run here keeps it, what is elsewhere need not, see `keepsDeadline`. When nothing keeps it so surely, the best chance counts instead; when nothing is expected to make it, the best case
 * of each candidate decides whether trying is worth it; only when not even that is in time is the answer Infeasible,
 * unless the request is to be tried all the same (`evenLate`) as long as there is time.
 *
 * Whoever decides often hands over the same `scratch` each time: room for what is gone when the decision is made.
 */
export function makePlan(
  request: PlanRequest,
  view: View,
  nowMs: number,
  random: Random,
  scratch: PlanScratch = planScratch(),
): Plan | Infeasible {
  const { prefer } = request.limits;
  if (prefer !== undefined) {
    const preferred = makePlanFor(request, view, nowMs, random, scratch);
    if (!("infeasible" in preferred)) return preferred;
    const { prefer: _preferred, ...limits } = request.limits;
    return makePlanFor({ ...request, limits }, view, nowMs, random, scratch);
  }
  return makePlanFor(request, view, nowMs, random, scratch);
}

function makePlanFor(
  request: PlanRequest,
  view: View,
  nowMs: number,
  random: Random,
  scratch: PlanScratch,
): Plan | Infeasible {
  const model = view.models.get(request.model);
  const { version } = request;
  if (!model || (version !== undefined && model.table.description.version !== version)) {
    const named = version === undefined ? request.model : `${request.model} version ${version}`;
    return { infeasible: true, filter: "unavailable", because: `no endpoint offers ${named}`, lost: [] };
  }
  const remainingMs = request.deadlineMs - nowMs;
  const question = (goal: Goal, allowedMs: number): Question => ({
    request,
    view,
    model,
    goal,
    remainingMs,
    allowedMs,
    unpricedMicros: 0,
    scratch,
  });
  const { objective, minInTimeRatio } = request.limits;
  const goal = goalOf(objective, minInTimeRatio);
  const careful = decide(question(goal, remainingMs), random);
  if (!("infeasible" in careful) || careful.filter !== "deadline") return careful;
  const other = minInTimeRatio === undefined ? hopeful(goal) : goalOf("chance");
  const tried = decide(question(other, remainingMs), random);
  if (!("infeasible" in tried)) return tried;
  return request.evenLate === true && remainingMs > 0 ? decide(question(goal, Infinity), random) : careful;
}

function decide(question: Question, random: Random): Plan | Infeasible {
  const { request, view, model, scratch } = question;
  scratch.beliefs.clear();
  scratch.tails.clear();
  scratch.columns.clear();
  const choices = choicesOf(request, view, model);
  const [first] = choices;
  const held = {
    classes: first?.bucket.classes[first.from] ?? [undefined],
    reveals: first?.bucket.cuts[first.from]?.reveals ?? "input",
  } as const;
  const obstacle = localObstacle(request, view, held);
  const alone = localCandidates(question, choices, obstacle);
  // Where no other endpoint serves the model, nothing is laid out for them.
  const served = model.routes.count > 0;
  const options = served ? optionsOf(question, choices, obstacle === undefined) : noOptions;
  const charging = chargingUnpriced(question, alone);
  const bounded = keepsDeadline(question, alone) ? { ...charging, allowedMs: Infinity } : charging;
  const findings = served ? scan(bounded, options) : noFindings(scratch);
  const finalists = served ? remoteFinalists(charging, options, findings, alone, random) : [];
  const locals = besideBest(alone, finalists);
  const explained: Explained = { question, options, findings, locals, finalists };
  // This endpoint may stand by for those that are preferred, and is not chosen itself.
  const { prefer } = request.limits;
  const here = prefer !== undefined && !(view.device.info && isOnly(prefer, view.device.info)) ? [] : locals;
  const chosen = choose(request, here, finalists, random);
  if (!chosen) {
    return { infeasible: true, ...whyNone(explained), lost: lostLines(explained, undefined, Infinity) };
  }
  if ("local" in chosen) {
    const { local } = chosen;
    const legs = localLegs(question, local, finalists, pauseFor(explained, local));
    return planOf(explained, local, local.values, local.score, legs);
  }
  const { remote } = chosen;
  const legs = remoteLegs(question, remote, finalists);
  return planOf(explained, remote.priced, remote.guarded.values, remote.score, legs);
}

/** With an objective that counts cost, a candidate without a known price is chosen only where none has a price. */
function chargingUnpriced(question: Question, locals: readonly LocalCandidate[]): Question {
  const { goal, model, view } = question;
  if (goal.costWeight === 0 || !model.routes.unpriced.includes(1)) return question;
  const pricedHere =
    view.device.info?.rates.unpriced !== true && locals.some(({ obstacle, priced }) => !obstacle && priced);
  return pricedHere || model.routes.unpriced.includes(0)
    ? { ...question, unpricedMicros: unknownMicros }
    : question;
}

function planOf(
  explained: Explained,
  priced: Priced,
  values: Float64Array,
  score: number,
  legs: readonly Leg[],
): Plan {
  const { question, findings, locals } = explained;
  const { request, view } = question;
  // What is there now and then stands last: literals with something spread in between are slow to make.
  const plan: Writable<Plan> = {
    schemaVersion: 1,
    view: view.number,
    model: request.model,
    variant: priced.choice.variant.name,
    from: request.from,
    objective: request.limits.objective,
    legs,
    predicted: predictedOf(question, priced, values),
    because: request.unexplained === true ? "" : because(explained, priced, values),
    candidates: findings.candidates + locals.length,
    lost: lostLines(explained, priced, score),
  };
  if (priced.stages) plan.stages = priced.stages;
  return plan;
}

/**
 * Everything here, but the number of elements of a fan-out is not known yet, sets the cost, and another endpoint could take
 * the part behind it: then the run pauses there and the plan is made again with what was found.
 */
function pauseFor(explained: Explained, local: Priced): string | undefined {
  const { findings, options } = explained;
  const { model, request } = explained.question;
  const { itemsCut } = model.table;
  if (itemsCut === undefined || request.features.items !== undefined) return undefined;
  if (request.sequence || request.whole === true) return undefined;
  const at = local.choice.bucket.index.get(itemsCut);
  if (at === undefined || at <= local.choice.from || findings.keptCount === 0) return undefined;
  const reachable = options.groups.some((group) => group.choice === local.choice && group.from >= at);
  return reachable ? itemsCut : undefined;
}
