import { type Infeasible, isInfeasible, type Plan } from "../../decide/plan/index.ts";
import type { Explanation } from "../../wire/endpoint/index.ts";
import { meanOf } from "../../words/estimate/index.ts";

/** Maximum of reported lines of `lost`. */
const mostLost = 100;

/** A decision in the form that other processes receive. */
export function explanationOf(outcome: Plan | Infeasible): Explanation {
  const lost = outcome.lost.slice(0, mostLost).map(({ endpoint, variant, cut, why, count }) => ({
    endpoint,
    variant,
    cut,
    why:
      why.kind === "filter"
        ? `${why.filter}: ${why.detail}`
        : `score ${why.score.toPrecision(4)}, best ${why.bestScore.toPrecision(4)}`,
    count,
  }));
  const { because } = outcome;
  if (isInfeasible(outcome)) return { because, lost };
  const { completionMs } = outcome.predicted;
  return {
    legs: outcome.legs.map(({ endpoint, segment }) => ({ endpoint, segment })),
    predictedMs: meanOf(completionMs),
    predictedLabel: completionMs.origin === "prior" ? "assumed" : "measured",
    because,
    lost,
  };
}
