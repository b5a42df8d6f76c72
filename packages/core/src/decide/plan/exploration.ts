import { meanOf } from "../../words/estimate/index.ts";
import { goalOf } from "../goal/index.ts";
import { type EndpointTable, judge, readingOf, serviceRatioAt } from "../table/index.ts";
import { latestOf } from "./legs.ts";
import type { Leg, Plan } from "./plan.ts";
import type { PlanRequest } from "./request.ts";

/**
 * Whether a plan may explore an endpoint. An explored endpoint is priced below its promise, so the filters of `makePlan` do not hold for it.
 * The deadline must be kept by the promise itself, or by a back-up that starts in time. A required share of met deadlines counts without
 * back-ups.
 */
export function mayExplore(
  { legs }: Plan,
  { limits, deadlineMs }: PlanRequest,
  endpoints: EndpointTable,
  nowMs: number,
): boolean {
  const { explored } = endpoints;
  const remainingMs = deadlineMs - nowMs;
  if (!explored || remainingMs === Infinity) return true;
  const first = legs.find((leg) => leg.endpoint === endpoints.ids[explored.endpoint] && surely(leg));
  if (!first?.travels) return true;
  const aroundMs = legs.reduce(
    (sum, leg) => sum + (leg !== first && surely(leg) ? meanOf(leg.predicted.completionMs) : 0),
    0,
  );
  const ratio = serviceRatioAt(endpoints, explored.endpoint);
  const addedMs = aroundMs + Math.max(0, 1 - ratio) * first.travels.promisedMs;
  const { objective, minInTimeRatio } = limits;
  const goal = goalOf(objective, minInTimeRatio);
  const reading = goal.readings[goal.deadlineAt] ?? readingOf(undefined);
  if (addedMs + judge(first.predicted.completionMs.values, reading) <= remainingMs) return true;
  return minInTimeRatio === undefined && legs.some((leg) => inTime(leg, first, remainingMs));
}

/** Whether a leg runs even if no other one is late or fails. */
const surely = ({ starts }: Leg): boolean => starts.some(({ on }) => on === "begin" || on === "done");

/** Whether `backUp` still keeps the deadline when it starts because `leg` is late. */
function inTime(backUp: Leg, leg: Leg, remainingMs: number): boolean {
  const latestMs = latestOf(backUp, leg);
  return latestMs !== undefined && latestMs + meanOf(backUp.predicted.completionMs) <= remainingMs;
}
