import type { EndpointId } from "../../words/base/index.ts";
import { isForeignDigest } from "../../wire/oip/index.ts";
import type { Job } from "./job.ts";
import type { Loop } from "./loop.ts";
import { Retries, type Round } from "./retries.ts";

/** The retries of a request; undefined if each endpoint is tried once. */
export function retriesOf({ parts, retrying }: Loop, job: Job): Retries | undefined {
  return mayRetry(job) ? new Retries(parts, job.call, retrying.waiting) : undefined;
}

/**
 * Whether a request may be sent to an endpoint that failed it. Confirmations and frames have retries of their own. Whether a foreign server
 * has done a step of a sequence, whose answer was lost, cannot be known.
 */
function mayRetry({ beside, frame, sequence, known }: Job): boolean {
  return !beside && frame !== true && !(sequence && isForeignDigest(known.description.digest));
}

/**
 * Waits until failed endpoints may be tried again, and until the budget allows it if it is not `paid`. Returns the failed endpoints that
 * may not be used, and whether the round is paid for; undefined if there is nothing to wait for. A round at an endpoint that answers other
 * requests is free: it does not worsen an outage, and an outage needs more retries than the budget earns in seconds.
 */
export async function nextRound(
  loop: Loop,
  again: Retries | undefined,
  failed: ReadonlySet<EndpointId>,
  paid: boolean,
): Promise<Round | undefined> {
  if (!again) return undefined;
  for (;;) {
    if (!(await again.wait())) return undefined;
    const pays = paid || (!again.sooner && loop.retrying.budget.take(loop.clock.nowMs()));
    if (!pays && !again.sooner) {
      again.putOff();
      continue;
    }
    const open = again.begin();
    return { without: new Set([...failed].filter((id) => !open.has(id))), paid: pays };
  }
}
