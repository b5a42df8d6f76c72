/**
 * `bench plan`: the time of one decision, explanation included, among 10 and 1,000 endpoints with two variants, seven cuts and up to three codecs. Links, loads,
 * offers, limits and profile are random, and no case repeats. Timed is `makePlan`; tables that the offloader prepares between requests are not. All decisions after the
 * first round count.
 */
import { isInfeasible, type Random, seededRandom } from "@longshore/core";
import { makePlan, planScratch, type PlanRequest, type View, withLoads } from "@longshore/core/internal";
import { setTimeout } from "node:timers/promises";
import { planWorld, randomRequest, randomScene } from "@longshore/testkit";
import { type Bench, mean, type Measured, quantile, type Row } from "./harness.ts";

/** A view and a request that were never seen before. */
interface Case {
  readonly view: View;
  readonly request: PlanRequest;
}

/**
 * Time of the offloader for each decision besides the plan: recording the believed load of every endpoint. Median over 50
 * views, in microseconds.
 */
function loadsUs(random: Random, endpoints: number): number {
  const { view, endpoints: endpointStates } = randomScene(random, planWorld(random), {
    endpoints,
    variety: false,
  });
  const views = endpointStates.map((endpoint) => endpoint.view);
  const took = Array.from({ length: 50 }, () => {
    const started = performance.now();
    withLoads(view.endpoints, views);
    return (performance.now() - started) * 1000;
  });
  return quantile(took, 0.5);
}

/** Lays out what endpoints offer for each bucket, which stays for as long as their offers do. */
function laidOut(view: View): View {
  for (const { table, routes } of view.models.values()) {
    for (const [variant, { buckets }] of table.variants.entries()) {
      for (const bucket of buckets.keys()) routes.cells(variant, bucket);
    }
  }
  return view;
}

/** One measured decision. */
interface Decision {
  readonly us: number;
  /** The operating system gave the processor to another process meanwhile. */
  readonly preempted: boolean;
  readonly candidates: number;
  readonly legs: number;
}

/**
 * The time of one decision for an OCR pipeline: 2 variants x 7 cuts x up to 3 codings x endpoints, every view and input
 * distinct, nothing memoised, the explanation included.
 *
 * The data prepared before the clock starts is prepared off the path of requests by the offloader too: a model's frontier once
 * when its profile is learned, an endpoint's offers when they are refreshed, a link when its belief changes. `loadsUs` is what
 * it does for each decision besides. The first decision of a round comes after a pause, in which the processor's caches lost
 * the code: of those there is a median of their own, too (`pausedUs`). Each case has its own endpoints, links, offers, loads
 * and request; each round its own profile.
 */
export const bench: Bench = {
  name: "plan",
  about: "time of one decision, explanation included, all codecs and variants",
  bars: { p50Us10: { atMost: 50 }, p99Us10: { atMost: 250 }, p50Us1000: { atMost: 1000 } },
  async run(context): Promise<Measured> {
    const random = seededRandom(context.seed);
    const scratch = planScratch();
    const rows: Row[] = [];
    const figures: Record<string, number> = {};
    const cases = (count: number, endpoints: number): Case[] => {
      const world = planWorld(random, { anyTier: true });
      return Array.from({ length: count }, () => ({
        view: laidOut(randomScene(random, world, { endpoints, variety: false }).view),
        request: { ...randomRequest(random, false), tieRatio: 0.01 },
      }));
    };
    const switches = (): number => process.resourceUsage().involuntaryContextSwitches;
    const decide = ({ view, request }: Case): Decision => {
      const before = switches();
      const started = performance.now();
      const plan = makePlan(request, view, 0, random, scratch);
      const us = (performance.now() - started) * 1000;
      const preempted = switches() > before;
      const made = isInfeasible(plan) ? undefined : plan;
      return { us, preempted, candidates: made?.candidates ?? 0, legs: made?.legs.length ?? 0 };
    };
    for (const warm of cases(1500, 10)) decide(warm);
    for (const [endpoints, rounds, perRound] of [
      [10, 12, 250],
      [1000, 12, 10],
    ] as const) {
      for (let round = 0; round < rounds; round++) {
        const own = cases(perRound, endpoints);
        // Laying them out leaves garbage that is collected beside the decisions otherwise.
        await setTimeout(30);
        for (const [index, one] of own.entries()) {
          const decision = decide(one);
          // The first round of a size still compiles.
          if (round > 0) rows.push({ endpoints, round, afterPause: index === 0, ...decision });
        }
      }
      const own = rows.filter((row) => row["endpoints"] === endpoints);
      const us = own.map((row) => Number(row["us"]));
      const paused = own.filter((row) => row["afterPause"] === true).map((row) => Number(row["us"]));
      const alone = own.filter((row) => row["preempted"] === false).map((row) => Number(row["us"]));
      const [p50, p95, p99] = [quantile(us, 0.5), quantile(us, 0.95), quantile(us, 0.99)];
      const candidates = mean(own.map((row) => Number(row["candidates"])));
      context.say(
        `${endpoints} endpoints: ${us.length} decisions over ${candidates.toFixed(0)} candidates each: p50 ${p50.toFixed(1)} us, p95 ${p95.toFixed(1)}, p99 ${p99.toFixed(1)}; the system took the processor away in ${us.length - alone.length} of them, p99 of the others ${quantile(alone, 0.99).toFixed(1)}; p50 of the first of each round, after a pause, ${quantile(paused, 0.5).toFixed(1)}`,
      );
      figures[`loadsUs${endpoints}`] = loadsUs(random, endpoints);
      figures[`p50Us${endpoints}`] = p50;
      figures[`p99Us${endpoints}`] = p99;
      figures[`pausedUs${endpoints}`] = quantile(paused, 0.5);
    }
    return { figures, rows };
  },
};
