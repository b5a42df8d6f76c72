import type { EndpointId } from "../base/index.ts";
import type { Account, EndpointInfo } from "../endpoint/index.ts";
import type { Segment } from "../model/index.ts";
import type { Tally } from "./tally.ts";

/** One account for all that happened behind a place; what ran elsewhere than `here` is listed in `forwarded`. */
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
