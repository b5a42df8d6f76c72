import type { EndpointId, Random, Writable } from "../../words/base/index.ts";
import { because, whyNone } from "./explain.ts";
import type { Explained } from "./explained.ts";
import { localObstacle } from "./filter/local-endpoint.ts";
import { chargingUnknown } from "./carbon.ts";
import { unknownMicros } from "./cost.ts";
import { besideBest, choose, finalistCount, localCandidates, remoteFinalists } from "./finalists.ts";
import type { LocalCandidate } from "./back-up.ts";
import { keepsDeadline } from "./guarded.ts";
import { localLegs, remoteLegs } from "./legs.ts";
import { choicesOf } from "./choices.ts";
import { noOptions, optionsOf } from "./options.ts";
import { beatenLines, lostLines } from "./lost-lines.ts";
import type { Infeasible, Leg, Plan } from "./plan.ts";
import { type Priced, predictedOf } from "./priced.ts";
import { type PlanScratch, planScratch } from "./plan-scratch.ts";
import type { PlanRequest } from "./request.ts";
import { noFindings, scan } from "./scan.ts";
import type { PlanInputs } from "./plan-inputs.ts";
import { type Goal, goalOf, hopeful, isOnly } from "../goal/index.ts";
import type { View } from "./view.ts";

/**
 * Decides where one request runs: resolve > filter > score > pick, with an explanation. Synchronous and pure: the same request, view,
 * instant and random numbers give the same plan.
 *
 * The deadline is compared with the mean, with the percentile of the objective, or with the required share of met deadlines. If a run here
 * keeps it, remote candidates need not (see `keepsDeadline`). If no candidate is sure enough, the best probability counts. If none is
 * expected to meet it, the best case of each candidate decides whether a try is worth it. Only if even that is too late, the result is
 * Infeasible, unless the request is to be tried all the same (`evenLate`) while there is time.
 *
 * Pass the same `scratch` to each decision: its memory is reused, and nothing in it outlives a decision.
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
  const inputs = (goal: Goal, allowedMs: number): PlanInputs => ({
    request,
    view,
    model,
    goal,
    remainingMs,
    allowedMs,
    unpricedMicros: 0,
    unknownMicrograms: 0,
    scratch,
  });
  const { objective, minInTimeRatio } = request.limits;
  const goal = goalOf(objective, minInTimeRatio);
  const careful = decide(inputs(goal, remainingMs), random);
  if (!("infeasible" in careful) || careful.filter !== "deadline") return careful;
  const other = minInTimeRatio === undefined ? hopeful(goal) : goalOf("chance");
  const tried = decide(inputs(other, remainingMs), random);
  if (!("infeasible" in tried)) return tried;
  return request.evenLate === true && remainingMs > 0 ? decide(inputs(goal, Infinity), random) : careful;
}

function decide(asked: PlanInputs, random: Random): Plan | Infeasible {
  const { request, view, model, scratch } = asked;
  scratch.beliefs.clear();
  scratch.tails.clear();
  scratch.columns.clear();
  const choices = choicesOf(request, view, model);
  const inputs = chargingUnknown(asked, choices);
  const [first] = choices;
  const held = {
    classes: first?.bucket.classes[first.from] ?? [undefined],
    reveals: first?.bucket.cuts[first.from]?.reveals ?? "input",
  } as const;
  const obstacle = localObstacle(request, view, held);
  const alone = localCandidates(inputs, choices, obstacle);
  // If no other endpoint serves the model, no tables are made for them.
  const served = model.routes.count > 0;
  const options = served ? optionsOf(inputs, choices, obstacle === undefined) : noOptions;
  const charging = chargingUnpriced(inputs, alone);
  const bounded = keepsDeadline(inputs, alone) ? { ...charging, allowedMs: Infinity } : charging;
  const findings = served ? scan(bounded, options) : noFindings(scratch);
  const finalists = served ? remoteFinalists(charging, options, findings, alone, random) : [];
  const locals = besideBest(alone, finalists);
  const explained: Explained = { inputs, options, findings, locals, finalists };
  // With preferred endpoints, this device may be a back-up but is not chosen itself.
  const { prefer } = request.limits;
  const here = prefer !== undefined && !(view.device.info && isOnly(prefer, view.device.info)) ? [] : locals;
  const chosen = choose(request, here, finalists, random);
  if (!chosen) {
    return { infeasible: true, ...whyNone(explained), lost: lostLines(explained, undefined, Infinity) };
  }
  if ("local" in chosen) {
    const { local } = chosen;
    const legs = localLegs(inputs, local, finalists, pauseFor(explained, local));
    return planOf(explained, local, local.values, local.score, legs);
  }
  const { remote } = chosen;
  const legs = remoteLegs(inputs, remote, finalists);
  return planOf(explained, remote.priced, remote.guarded.values, remote.score, legs);
}

/** With an objective that includes cost, a candidate without a known price is chosen only if none has a price. */
function chargingUnpriced(inputs: PlanInputs, locals: readonly LocalCandidate[]): PlanInputs {
  const { goal, model, view } = inputs;
  if (goal.costWeight === 0 || !model.routes.unpriced.includes(1)) return inputs;
  const pricedHere =
    view.device.info?.rates.unpriced !== true && locals.some(({ obstacle, priced }) => !obstacle && priced);
  return pricedHere || model.routes.unpriced.includes(0)
    ? { ...inputs, unpricedMicros: unknownMicros }
    : inputs;
}

function planOf(
  explained: Explained,
  priced: Priced,
  values: Float64Array,
  score: number,
  legs: readonly Leg[],
): Plan {
  const { inputs, findings, locals } = explained;
  const { request, view } = inputs;
  const unexplained = request.unexplained === true;
  // Optional fields come last: literals with a spread in between are slow to make.
  const plan: Writable<Plan> = {
    schemaVersion: 1,
    view: view.number,
    model: request.model,
    variant: priced.choice.variant.name,
    from: request.from,
    objective: request.limits.objective,
    legs,
    predicted: predictedOf(inputs, priced, values),
    because: unexplained ? "" : because(explained, priced, values),
    candidates: findings.candidates + locals.length,
    lost: (unexplained ? beatenLines : lostLines)(explained, priced, score),
  };
  if (priced.stages) plan.stages = priced.stages;
  if (request.listed === true) plan.alternatives = alternativesOf(explained, priced.route);
  return plan;
}

/** Endpoints besides the chosen one that no filter removed: finalists by their scores, then others by theirs. */
function alternativesOf({ inputs, findings, finalists }: Explained, chosen: number): readonly EndpointId[] {
  const { routes } = inputs.model;
  const { ids } = inputs.view.endpoints;
  const byScore = finalists.toSorted((one, other) => one.score - other.score);
  const order = byScore.map(({ priced }) => priced.route);
  const { bestScore } = findings;
  const others = Array.from({ length: routes.count }, (_, route) => route)
    .filter((route) => (bestScore[route] ?? Infinity) < Infinity && !order.includes(route))
    .sort((one, other) => (bestScore[one] ?? Infinity) - (bestScore[other] ?? Infinity));
  const taken = routes.endpoint[chosen];
  const found = new Set<EndpointId>();
  for (const route of [...order, ...others]) {
    const at = routes.endpoint[route] ?? -1;
    const id = ids[at];
    if (at !== taken && id !== undefined) found.add(id);
    if (found.size === finalistCount) break;
  }
  return [...found];
}

/**
 * Why a local run should pause. The number of elements of a fan-out decides the cost but is not known yet, and another endpoint could run
 * the part after it. Then the run pauses there and a new plan uses the number.
 */
function pauseFor(explained: Explained, local: Priced): string | undefined {
  const { findings, options } = explained;
  const { model, request } = explained.inputs;
  const { itemsCut } = model.table;
  if (itemsCut === undefined || request.features.items !== undefined) return undefined;
  if (request.sequence || request.whole === true) return undefined;
  const at = local.choice.bucket.index.get(itemsCut);
  if (at === undefined || at <= local.choice.from || findings.keptCount === 0) return undefined;
  const reachable = options.groups.some((group) => group.choice === local.choice && group.from >= at);
  return reachable ? itemsCut : undefined;
}
