import type { EndpointId, Writable } from "../../words/base/index.ts";
import type { Account, EndpointInfo, InferenceResponse, LoadReport } from "../../wire/endpoint/index.ts";
import type { Segment } from "../../words/model/index.ts";
import type { Tally } from "./tally.ts";

/** One account for all work behind an endpoint. `forwarded` lists the work that ran elsewhere than `here`. */
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
 * Turns a leg's answer into the answer of the endpoint that sent the leg. Whether the leg's inputs were forgotten says nothing about the
 * inputs of the request. Fields are assigned one by one, since this runs for every small answer.
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
