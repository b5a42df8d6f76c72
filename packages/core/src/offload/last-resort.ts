import type { EndpointId } from "../base/index.ts";
import { leftAlone } from "../places/index.ts";
import { isInfeasible, type Plan } from "../plan/index.ts";
import type { Held } from "../parts/index.ts";
import type { Job } from "./job.ts";
import type { Loop } from "./loop.ts";

/**
 * A plan at one of the four places that answered last of those that are left alone for their silence alone, or because they were gone,
 * for a request that nothing else can answer: where everything is slow, silence says little, and who is back says so by its answer.
 */
export function lastResort(
  loop: Loop,
  job: Job,
  held: Held,
  exclude: ReadonlySet<EndpointId>,
  nowMs: number,
): Plan | undefined {
  const { places } = loop;
  const asked = leftAlone(places.all, exclude).filter((id) => {
    const health = places.all.get(id)?.health;
    if (!health || nowMs >= health.pausedUntilMs || !job.known.offersBy.has(id)) return false;
    return health.silent || health.absent;
  });
  const failingMs = asked.length > 0 ? places.failingMs(job.known, job.call.tenant, nowMs) : undefined;
  for (const proving of asked.filter((id) => failingMs?.(id) !== Infinity).slice(0, 4)) {
    for (const from of new Set([held, job.held])) {
      const plan = loop.plan({ ...job, proving }, from, exclude, nowMs);
      if (!isInfeasible(plan)) return plan;
    }
  }
  return undefined;
}
