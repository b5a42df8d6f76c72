import type { Random } from "../../words/base/index.ts";
import type { LocalObstacle } from "./filter/local-endpoint.ts";
import { accuracyDetail, accuracyRemoves } from "./filter/accuracy.ts";
import { agreementDetail, agreementRemoves } from "./filter/agreement.ts";
import { countedMicrograms, hereMicrograms } from "./carbon.ts";
import { mostLocalMicros } from "./cost.ts";
import { localMicros } from "./local-cost.ts";
import { costDetail, costRemoves } from "./filter/cost.ts";
import { deadlineDetail, deadlineRemoves } from "./filter/deadline.ts";
import { energyDetail, energyRemoves } from "./filter/energy.ts";
import { memoryDetail, memoryRemoves } from "./filter/memory.ts";
import { tierDetail, tierRemoves } from "./filter/tier.ts";
import { elsewhereDetail } from "./filter/unavailable.ts";
import { type Guarded, guardedValues, unguarded } from "./guarded.ts";
import type { Choice } from "./choices.ts";
import { type Options, partOf, reachedHere } from "./options.ts";
import { randomTie } from "./pick/random-tie.ts";
import type { FilterName } from "./plan.ts";
import { isSaving, meanWeight, scoreOf } from "../goal/index.ts";
import {
  judgedBy,
  leastMs,
  loadHereMs,
  localValues,
  mostMicros,
  plainScore,
  type Priced,
  type PricedRemote,
  priceLocal,
  priceRemote,
} from "./priced.ts";
import type { PlanInputs } from "./plan-inputs.ts";
import type { PlanRequest } from "./request.ts";
import type { Findings } from "./scan.ts";
import { judge, meanReading, meanValue, pricesAt, tierBit } from "../table/index.ts";
import type { BackUp, LocalCandidate } from "./back-up.ts";

/** Remote routes that are priced as whole distributions. */
export const finalistCount = 5;

/** Scores that lie within this share of the best count as equal. */
export const defaultTieRatio = 0.01;

/** A remote finalist with the back-up that guards it. */
export interface Finalist {
  readonly priced: PricedRemote;
  readonly backUp: BackUp | undefined;
  readonly guarded: Guarded;
  readonly score: number;
  /** Charge for staying here instead, in units of the score. */
  readonly staying: number;
}

/** Every variant, whole and here. */
export function localCandidates(
  inputs: PlanInputs,
  choices: readonly Choice[],
  obstacle: LocalObstacle | undefined,
): readonly LocalCandidate[] {
  const { goal, remainingMs, allowedMs } = inputs;
  const { limits, ready } = inputs.request;
  const { info, memoryBytes } = inputs.view.device;
  return choices.map((choice) => {
    if (obstacle) return removed(choice, obstacle.filter, obstacle.detail);
    if (!info || tierRemoves(choice.variant.tierMask, tierBit(info.tier))) {
      return removed(choice, "tier", tierDetail(choice.variant.name, info?.tier ?? "device"));
    }
    if (Number.isNaN(choice.slowness)) {
      return removed(choice, "unavailable", `variant ${choice.variant.name} is not here`);
    }
    if (reachedHere(choice, choice.from) < choice.to) {
      return removed(
        choice,
        "unavailable",
        elsewhereDetail(inputs.model.table.description, choice.variant.name),
      );
    }
    if (memoryRemoves(choice.bucket.headMemoryBytes[choice.to] ?? 0, memoryBytes)) {
      return removed(choice, "memory", memoryDetail(memoryBytes));
    }
    if (ready?.(undefined, partOf(choice, choice.from, choice.to)) === false) {
      return removed(choice, "unavailable", `variant ${choice.variant.name} is not loaded here`);
    }
    if (agreementRemoves(choice.agreementRatio, limits))
      return removed(choice, "agreement", agreementDetail(limits));
    if (accuracyRemoves(choice.variant.accuracyRatio, limits))
      return removed(choice, "accuracy", accuracyDetail(limits));
    const priced = priceLocal(inputs, choice);
    if (costRemoves(mostMicros(inputs, priced), limits.maxCostMicros)) {
      return removed(choice, "cost", costDetail(limits.maxCostMicros));
    }
    if (energyRemoves(priced.deviceMillijoules, limits.maxDeviceMillijoules)) {
      return removed(choice, "energy", energyDetail(limits.maxDeviceMillijoules));
    }
    const latestMs = judge(priced.values, goal.readings[goal.deadlineAt] ?? meanReading);
    if (deadlineRemoves(latestMs, allowedMs)) {
      const detail = deadlineDetail(remainingMs, limits.minInTimeRatio);
      const late = { filter: "deadline", detail } as const;
      return { choice, priced, obstacle: late, backUp: true };
    }
    return { choice, priced, obstacle: undefined, backUp: true };
  });
}

function removed(choice: Choice, filter: FilterName, detail: string): LocalCandidate {
  return { choice, priced: undefined, obstacle: { filter, detail }, backUp: false };
}

/**
 * The routes with the smallest scores, best first. If more are equal than can be finalists, a random draw decides, so that many clients
 * with the same view do not all choose the same few.
 */
export function bestRoutes(
  scores: ArrayLike<number>,
  routes: number,
  count: number,
  tieRatio: number,
  random: Random,
): readonly number[] {
  const best: number[] = [];
  for (let route = 0; route < routes; route++) {
    const score = scores[route] ?? Infinity;
    if (score === Infinity) continue;
    let at = best.length < count ? best.push(route) - 1 : count - 1;
    if (best[at] !== route && score >= (scores[best[at] ?? -1] ?? Infinity)) continue;
    for (; at > 0 && score < (scores[best[at - 1] ?? -1] ?? Infinity); at--) best[at] = best[at - 1] ?? -1;
    best[at] = route;
  }
  const least = scores[best[0] ?? -1] ?? Infinity;
  const tie = least + Math.abs(least) * tieRatio;
  if (best.length < count || (scores[best[count - 1] ?? -1] ?? Infinity) > tie) return best;
  const alike: number[] = [];
  for (let route = 0; route < routes; route++) if ((scores[route] ?? Infinity) <= tie) alike.push(route);
  if (alike.length === count) return best;
  for (let index = 0; index < count; index++) {
    const other = index + Math.floor(random.next() * (alike.length - index));
    [alike[index], alike[other]] = [alike[other] ?? 0, alike[index] ?? 0];
  }
  return alike.slice(0, count);
}

/**
 * Prices the best routes completely, with the back-up that will guard them. A link that stalls from time to time has a terrible mean, which
 * a local back-up cuts off. If latency is part of the goal, or a deadline must be kept, the routes compete by the time that remains with
 * it.
 */
export function remoteFinalists(
  inputs: PlanInputs,
  options: Options,
  findings: Findings,
  locals: readonly LocalCandidate[],
  random: Random,
): readonly Finalist[] {
  const { request, view, model, goal } = inputs;
  const finalists: Finalist[] = [];
  const tieRatio = request.tieRatio ?? defaultTieRatio;
  const latencyWeight = goal.kind === "sum" ? goal.weights.reduce((sum, one) => sum + one, 0) : 0;
  const guards = goal.guarded || (isSaving(goal) && inputs.remainingMs < Infinity);
  let best = Infinity;
  for (const route of bestRoutes(findings.bestScore, model.routes.count, finalistCount, tieRatio, random)) {
    const group = options.groups[findings.bestGroup[route] ?? -1];
    if (!group) continue;
    const option = findings.bestOption[route] ?? 0;
    // Its best case is worse than the promise of the best candidate. It can only be an alternative after a failure.
    const hopeless =
      !guards ||
      (best < Infinity &&
        latencyWeight * leastMs(inputs, options, group, option, route) > best * (1 + tieRatio));
    if (hopeless && finalists.length > 1) continue;
    const priced = priceRemote(inputs, options, group, option, route);
    const backUp = backUpFor(inputs, priced, locals, finalists);
    const endpoint = model.routes.endpoint[route] ?? -1;
    const prices = pricesAt(view.endpoints, endpoint);
    const guarded =
      !hopeless && backUp && backUpAffordable(inputs, priced, backUp)
        ? guardedValues(inputs, priced, backUp, prices)
        : unguarded(priced.values);
    const score = guards ? guardedScore(inputs, priced, backUp, guarded) : priced.score;
    if (score < best) best = score;
    const staying = guards ? meanWeight(goal) * guarded.stayChargedMs : 0;
    finalists.push({ priced, backUp, guarded, score, staying });
  }
  return finalists;
}

/** The score of a candidate with its back-up, which takes its energy and money in the share of cases in which it runs. */
function guardedScore(
  inputs: PlanInputs,
  priced: PricedRemote,
  backUp: BackUp | undefined,
  { values, backUpRatio, chargedMs }: Guarded,
): number {
  const { goal, remainingMs, model, unpricedMicros } = inputs;
  const charged = meanWeight(goal) * chargedMs;
  if (goal.isPlain) return charged + plainScore(goal, values);
  const unpriced = model.routes.unpriced[priced.route] === 1 ? unpricedMicros : 0;
  return (
    charged +
    scoreOf(goal, judgedBy(goal, values), {
      deviceMillijoules: priced.deviceMillijoules + backUpRatio * (backUp?.deviceMillijoules ?? 0),
      costMicros: priced.costMicros + unpriced + backUpRatio * (backUp?.costMicros ?? 0),
      carbonMicrograms:
        countedMicrograms(inputs, priced.carbonMicrograms) +
        (backUp && backUpRatio > 0 ? backUpRatio * countedMicrograms(inputs, backUp.carbonMicrograms) : 0),
      accuracyRatio: priced.accuracyRatio ?? NaN,
      agreementRatio: priced.agreementRatio,
      paceMs: 0,
      remainingMs,
    })
  );
}

/** Whether both runs together stay inside the limits. */
export function backUpAffordable(inputs: PlanInputs, priced: Priced, backUp: BackUp): boolean {
  const { maxDeviceMillijoules, maxCostMicros } = inputs.request.limits;
  const millijoules = priced.deviceMillijoules + backUp.deviceMillijoules;
  if (energyRemoves(millijoules, maxDeviceMillijoules)) return false;
  if (maxCostMicros === undefined) return true;
  return !costRemoves(mostMicros(inputs, priced) + backUp.mostMicros, maxCostMicros);
}

/**
 * The back-up: the rest of the same variant from the crossing that is here anyway, else another variant that may run here as a whole. It
 * keeps the same rules as all legs. Finalists that leave from the same cut have the same back-up.
 */
function backUpFor(
  inputs: PlanInputs,
  priced: PricedRemote,
  locals: readonly LocalCandidate[],
  finalists: readonly Finalist[],
): BackUp | undefined {
  const { group } = priced;
  for (const one of finalists) {
    if (one.priced.choice === priced.choice && one.priced.group.from === group.from) return one.backUp;
  }
  const same = locals.find((one) => one.choice === priced.choice && one.backUp);
  const { device } = inputs.view;
  if (same) {
    const { choice } = same;
    const values = localValues(inputs, choice, group.from, choice.to);
    const runMs = meanValue(values) - device.queueMs - loadHereMs(inputs, choice, group.from, choice.to);
    const deviceMillijoules = runMs * device.activeWatts;
    const hasHead = group.from > choice.from;
    return {
      choice,
      from: group.from,
      takes: hasHead ? "head" : "request",
      values,
      head: hasHead ? localValues(inputs, choice, choice.from, group.from) : undefined,
      deviceMillijoules,
      costMicros: localMicros(device, runMs),
      mostMicros: mostLocalMicros(device, choice, group.from, choice.to),
      carbonMicrograms: hereMicrograms(inputs.view, deviceMillijoules, true),
    };
  }
  let best: Priced | undefined;
  for (const one of locals) {
    if (one.backUp && one.priced && (!best || one.priced.score < best.score)) best = one.priced;
  }
  if (!best) return undefined;
  return {
    choice: best.choice,
    from: best.choice.from,
    takes: "request",
    values: best.values,
    head: undefined,
    deviceMillijoules: best.deviceMillijoules,
    costMicros: best.costMicros,
    mostMicros: mostLocalMicros(device, best.choice, best.choice.from, best.choice.to),
    carbonMicrograms: best.carbonMicrograms,
  };
}

/** Local candidates next to the best finalist: charged with the price of a late answer. */
export function besideBest(
  locals: readonly LocalCandidate[],
  finalists: readonly Finalist[],
): readonly LocalCandidate[] {
  let best: Finalist | undefined;
  for (const one of finalists) if (!best || one.score < best.score) best = one;
  const staying = best?.staying ?? 0;
  if (staying === 0) return locals;
  const charged = (one: Priced): Priced => ({ ...one, score: one.score + staying });
  return locals.map((one) => (one.priced ? { ...one, priced: charged(one.priced) } : one));
}

/** The best of all: here when it is as good as any, else one of the best elsewhere, drawn. */
export function choose(
  request: PlanRequest,
  locals: readonly LocalCandidate[],
  finalists: readonly Finalist[],
  random: Random,
): { readonly local: Priced } | { readonly remote: Finalist } | undefined {
  let local: Priced | undefined;
  for (const one of locals) {
    if (!one.obstacle && one.priced && (!local || one.priced.score < local.score)) local = one.priced;
  }
  let best = local?.score ?? Infinity;
  for (const one of finalists) best = Math.min(best, one.score);
  if (best === Infinity) return undefined;
  const tie = best + Math.abs(best) * (request.tieRatio ?? defaultTieRatio);
  if (local && local.score <= tie) return { local };
  const remote = randomTie(finalists, tie, random);
  return remote ? { remote } : undefined;
}
