import { type Call, type Clock, type DataClass, type EndpointInfo, LongshoreError } from "@longshore/core";
import { brokenRule, noEndpoint } from "@longshore/core/internal";

/** Throws `deadline-past` for a call whose deadline had passed before it began. */
export function refusePast({ deadlineMs }: Call, clock: Clock): void {
  const nowMs = clock.nowMs();
  if (nowMs <= deadlineMs) return;
  throw new LongshoreError(
    "deadline-past",
    "admission",
    `the deadline passed ${Math.ceil(nowMs - deadlineMs)} ms before the request came`,
  );
}

/** Refuses a request whose answer another endpoint must confirm: the engine calls no other endpoint. */
export function refuseConfirmed({ rules }: Call): void {
  if (rules.confirm !== true) return;
  throw new LongshoreError(
    "policy-denied",
    "admission",
    "the answer must be confirmed by a second endpoint, and this server uses no other: send the request to a gateway, or without confirm=true among its rules",
  );
}

/**
 * Refuses a request whose zones or trust this endpoint does not have, regardless of its planner. Data classes are judged by the sender's policy,
 * which knows what the sender's operator says of this endpoint; where the operator of this one says what it runs, all others are refused.
 */
export function refuseRules(
  { rules }: Call,
  { id, zone, trust }: EndpointInfo,
  dataClasses?: readonly DataClass[],
): void {
  if (dataClasses && !dataClasses.includes(rules.dataClass)) {
    const stated = `the request is of class '${rules.dataClass.slice(0, 80)}'`;
    throw noEndpoint({
      filter: "data-class",
      because: `${id} runs requests of the data classes ${dataClasses.join(", ")} only; ${stated}`,
    });
  }
  const broken = brokenRule(rules, { id, zones: [zone], trust });
  if (!broken) return;
  const { filter, detail } = broken;
  throw noEndpoint({
    filter,
    because: `${id} must not run the request by its ${filter} rule: ${detail}`,
  });
}
