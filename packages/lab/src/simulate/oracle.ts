/**
 * The oracle: for each request, when it comes, the plan that will do best, because it knows what the links will carry. It
 * obeys the same queues as everybody, decides greedily for one request after the other, and takes services to last as long
 * as they do on average: a yardstick that no client can be, and no bound (a sequence of plans may beat the greedy one).
 */
import { endCut, LongshoreError, startCut } from "@longshore/core";
import { exchangeMillijoules, radios, radioState } from "@longshore/core/internal";
import { defaultEnvelope, type FixedPlan, type OffloadWorld, type PlanCandidate } from "../world/index.ts";
import { mean, termsOf } from "./figures.ts";
import type { Simulation } from "./simulation.ts";

/** The weight of a millisecond if time is not minimised. */
const tieWeight = 1e-6;

interface Outlook {
  readonly doneMs: number;
  readonly millijoules: number;
  readonly costMicros: number;
  readonly wrongRatio: number;
}

/** Chooses among the candidates for the request that comes now. */
export function oracle(
  world: OffloadWorld,
  simulation: Simulation,
  candidates: readonly PlanCandidate[],
): () => FixedPlan {
  const { clock } = world;
  const { device, endpoints, limits, model } = simulation;
  const { radio = radios.wired } = device;
  const watts = device.info.rates.activeWatts;
  const state = radioState(radio);
  let upUntilMs = -Infinity;
  const terms = termsOf(limits.objective);
  const tie = terms.every(({ of }) => of === "energy" || of === "cost") ? tieWeight : 0;
  const about = new Map(endpoints.map((endpoint) => [endpoint.info.id, endpoint]));
  const accuracy = new Map(
    model.description.variants.map(({ name, accuracyRatio }) => [name, accuracyRatio]),
  );

  function outlook({ plan, ...parts }: PlanCandidate): Outlook {
    const nowMs = clock.nowMs();
    const wrongRatio = 1 - (accuracy.get(plan.variant) ?? parts.agreementRatio);
    // A head that runs here waits for the device; an input that only leaves it does not.
    const headMs = plan.cut === startCut ? 0 : world.device.load().queueMs + parts.headMs / device.speed;
    const here = (parts.headMs / device.speed) * watts;
    if (plan.cut === endCut) return { doneMs: nowMs + headMs, millijoules: here, costMicros: 0, wrongRatio };
    const endpoint = about.get(plan.endpoint ?? "");
    const there = world.endpoints.get(plan.endpoint ?? "");
    if (!endpoint || !there)
      return { doneMs: Infinity, millijoules: Infinity, costMicros: Infinity, wrongRatio };
    const encodeMs = parts.encodeMs / device.speed;
    const sentMs = nowMs + headMs + encodeMs;
    const { envelope = defaultEnvelope, handlingMs = 0 } = endpoint;
    const upBytes = parts.upBytes + envelope.up;
    const downBytes = parts.downBytes + envelope.down;
    const handledMs = typeof handlingMs === "number" ? handlingMs : mean(handlingMs);
    const landedMs = there.link.arrivesMs(upBytes, "up", sentMs) + handledMs;
    const waitMs = Math.max(0, there.slots.waitMs() - (landedMs - nowMs));
    const runMs = parts.tailMs / (endpoint.speed ?? 1);
    const servedMs = landedMs + parts.decodeMs / (endpoint.speed ?? 1) + waitMs + runMs;
    const doneMs = there.link.arrivesMs(downBytes, "down", servedMs);
    const { rates } = endpoint.info;
    // An exchange that ends before another one under way shares its radio time for free.
    const sharedMs = Math.max(0, Math.min(doneMs, upUntilMs) - sentMs);
    const aloneRatio = sharedMs > 0 ? 1 - sharedMs / (doneMs - sentMs) : 1;
    return {
      doneMs,
      millijoules:
        here +
        encodeMs * watts +
        state.wakeMillijoules(sentMs) +
        exchangeMillijoules(
          radio,
          upBytes,
          downBytes,
          aloneRatio * (landedMs - sentMs + doneMs - servedMs),
          aloneRatio * (servedMs - landedMs),
        ),
      costMicros:
        (rates.microsPerSecond * runMs) / 1000 + (rates.microsPerMegabyte * (upBytes + downBytes)) / 1e6,
      wrongRatio,
    };
  }

  function score(one: Outlook): number {
    const tookMs = one.doneMs - clock.nowMs();
    // Too late is worse than anything in time, and the less late the better.
    const late = Math.max(0, tookMs - (limits.deadlineMs ?? Infinity)) * 1e9;
    if (limits.objective === "accuracy") return late + one.wrongRatio * 1e8 + tookMs;
    // Of what is otherwise the same, the quickest. It knows how long each takes: to it a percentile is a time as any other.
    let total = late + tie * tookMs;
    for (const { of, weight } of terms)
      total += weight * (of === "energy" ? one.millijoules : of === "cost" ? one.costMicros : tookMs);
    return total;
  }

  return () => {
    let best: PlanCandidate | undefined;
    let found: Outlook | undefined;
    for (const candidate of candidates) {
      const one = outlook(candidate);
      if (found && score(one) >= score(found)) continue;
      best = candidate;
      found = one;
    }
    if (!best || !found) throw new LongshoreError("no-endpoint", "plan", "no plan is allowed");
    if (best.plan.endpoint !== undefined && Number.isFinite(found.doneMs)) {
      state.used(found.doneMs);
      upUntilMs = Math.max(upUntilMs, found.doneMs);
    }
    return best.plan;
  };
}
