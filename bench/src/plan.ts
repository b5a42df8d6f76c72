import { isInfeasible, makePlan, type PlanRequest, seededRandom, type View } from "@longshore/core";
import { planWorld, randomRequest, randomScene } from "@longshore/testkit";
import { type Bench, type Measured, quantile, type Row } from "./harness.ts";

/** One round: decisions on views that were never seen before. */
interface Case {
  readonly view: View;
  readonly request: PlanRequest;
}

/**
 * The time of one decision for an OCR pipeline: 2 variants x 7 cuts x up to 3 codings x places, every view and input
 * distinct, nothing memoised, the explanation included.
 *
 * What is laid out before the clock starts is what the offloader lays out off the path of requests too: a model's
 * frontier once when its profile is learned, a place's offers when they are refreshed, a link when it learned something.
 * Each case has its own endpoints, links, offers, loads and request; each round its own profile.
 */
export const bench: Bench = {
  name: "plan",
  about: "time of one decision, explanation included, all codecs and variants",
  bars: { p50Us10: { atMost: 50 }, p99Us10: { atMost: 250 }, p50Us1000: { atMost: 1000 } },
  async run(context): Promise<Measured> {
    const random = seededRandom(context.seed);
    const rows: Row[] = [];
    const figures: Record<string, number> = {};
    const cases = (count: number, endpoints: number): Case[] => {
      const world = planWorld(random, { anyTier: true });
      return Array.from({ length: count }, () => ({
        view: randomScene(random, world, { endpoints, variety: false }).view,
        request: { ...randomRequest(random, false), tieRatio: 0.01 },
      }));
    };
    const decide = ({ view, request }: Case): { us: number; candidates: number; legs: number } => {
      const started = performance.now();
      const plan = makePlan(request, view, 0, random);
      const us = (performance.now() - started) * 1000;
      return isInfeasible(plan)
        ? { us, candidates: 0, legs: 0 }
        : { us, candidates: plan.candidates, legs: plan.legs.length };
    };
    for (const warm of cases(1500, 10)) decide(warm);
    for (const [endpoints, rounds, perRound] of [
      [10, 12, 250],
      [1000, 12, 10],
    ] as const) {
      for (let round = 0; round < rounds; round++) {
        for (const one of cases(perRound, endpoints)) {
          const { us, candidates, legs } = decide(one);
          // The first round of a size still compiles.
          if (round > 0) rows.push({ endpoints, round, us, candidates, legs });
        }
      }
      const us = rows.filter((row) => row["endpoints"] === endpoints).map((row) => Number(row["us"]));
      const [p50, p95, p99] = [quantile(us, 0.5), quantile(us, 0.95), quantile(us, 0.99)];
      const mean = rows
        .filter((row) => row["endpoints"] === endpoints)
        .reduce((sum, row) => sum + Number(row["candidates"]) / us.length, 0);
      context.say(
        `${endpoints} endpoints: ${us.length} decisions over ${mean.toFixed(0)} candidates each: p50 ${p50.toFixed(1)} us, p95 ${p95.toFixed(1)}, p99 ${p99.toFixed(1)}`,
      );
      figures[`p50Us${endpoints}`] = p50;
      figures[`p99Us${endpoints}`] = p99;
    }
    return { figures, rows };
  },
};
