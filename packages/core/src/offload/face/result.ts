import { meanOf } from "../../words/estimate/index.ts";
import { outputsOf } from "../../words/tensor/index.ts";
import type { LostLeg } from "../account/index.ts";
import type { Result } from "../offloader/index.ts";
import type { Outcome } from "../race/index.ts";

/** The reason of the plan. If a back-up gave the answer, it names the endpoint that the back-up replaced. */
function becauseOf({ plan, leg, tally: { lostLegs } }: Outcome): string {
  const { because } = plan;
  const [first] = plan.legs;
  const isFirst = (one: LostLeg): boolean => one.leg === first?.id && one.endpoint === first.endpoint;
  // A later plan starts with its own legs.
  const stoodIn =
    leg.starts.every(({ on }) => on === "failed" || on === "late") ||
    (leg.id !== first?.id && lostLegs.some(isFirst));
  const lost = stoodIn ? lostLegs.findLast(({ leg: id }) => id !== leg.id) : undefined;
  return lost ? `${because}; ${leg.endpoint} answered instead of ${lost.endpoint} (${lost.why})` : because;
}

/** The app's result for a request that took `tookMs`. */
export function resultOf(outcome: Outcome, tookMs: number, counted: boolean): Result {
  const { response, leg, plan, tally, confirmedBy } = outcome;
  const [first = plan] = tally.plans;
  return {
    outputs: outputsOf(response.outputs),
    where: leg.endpoint,
    ...(confirmedBy === undefined ? {} : { confirmedBy }),
    because: becauseOf(outcome),
    tookMs,
    predictedMs: meanOf(first.predicted.completionMs),
    predictedLabel: first.predicted.completionMs.origin === "prior" ? "assumed" : "measured",
    plans: tally.plans,
    accounts: tally.accounts,
    lostLegs: tally.lostLegs,
    sentBytes: tally.sentBytes,
    receivedBytes: tally.receivedBytes,
    energy: { millijoules: tally.millijoules, label: tally.measured ? "measured" : "estimated" },
    costMicros: tally.costMicros,
    ...(counted && !Number.isNaN(tally.carbonMicrograms) ? { carbonMicrograms: tally.carbonMicrograms } : {}),
  };
}
