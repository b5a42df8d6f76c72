import type { EndpointId, Writable } from "../../words/base/index.ts";
import type { Account, EndpointInfo, InferenceResponse, LoadReport } from "../../wire/endpoint/index.ts";
import type { Segment } from "../../words/model/index.ts";
import type { Tally } from "./tally.ts";

/** One account for all that happened behind an endpoint; what ran elsewhere than `here` is listed in `forwarded`. */
export function accountOf(
  { id, zone }: EndpointInfo,
  here: EndpointId | undefined,
  segment: Segment,
  { accounts, sentBytes, receivedBytes, millijoules, measured, costMicros }: Tally,
): Account {
  const own = accounts.filter(({ endpoint }) => endpoint === here);
  return {
    endpoint: id,
    zone,
    segment,
    stages: own.flatMap(({ stages }) => stages),
    sentBytes,
    receivedBytes,
    energy: { millijoules, label: measured ? "measured" : "estimated" },
    costMicros,
    forwarded: accounts.filter(({ endpoint }) => endpoint !== here),
  };
}

/**
 * An answer of a leg as that of the endpoint which asked for it. That the leg's inputs were forgotten says nothing of those of the request.
 * Assigned one by one, since this is done for every small answer.
 */
export function answerOf(
  { outputs, confidenceRatio, state, stateSeal, wire }: InferenceResponse,
  account: Account,
  load: LoadReport,
): InferenceResponse {
  const answer: Writable<InferenceResponse> = { outputs, account, load };
  if (wire) answer.wire = wire;
  if (confidenceRatio !== undefined) answer.confidenceRatio = confidenceRatio;
  if (state) answer.state = state;
  if (stateSeal !== undefined) answer.stateSeal = stateSeal;
  return answer;
}
