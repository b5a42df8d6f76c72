import { type Random, seededRandom } from "@longshore/core";
import { describe, expect, it } from "vitest";
import { randomDag, randomFacts } from "../../test/chains.ts";
import { present } from "../../test/present.ts";
import {
  chainMeasures,
  type ChainMeasures,
  type Dag,
  type SplitGoal,
  isLegal,
  type Limit,
  measured,
  type Placement,
  type Pins,
  planSplit,
  weighted,
} from "./index.ts";

/** All placements and where their answer may be made, by trying every tier for every node. */
function* everyPlacement(dag: Dag, tiers: number): Generator<{ placement: Placement; reach: number }> {
  for (let code = 0; code < tiers ** dag.nodes; code++) {
    let rest = code;
    const placement = Uint8Array.from({ length: dag.nodes }, () => {
      const tier = rest % tiers;
      rest = (rest - tier) / tiers;
      return tier;
    });
    for (let reach = 0; reach < tiers; reach++)
      if (isLegal(dag, placement, reach)) yield { placement, reach };
  }
}

function valueOf(goal: SplitGoal, dag: Dag, placement: Placement, reach: number): number {
  if (goal.kind === "sum") return measured(dag, placement, reach, goal.of);
  const sums = goal.of.map((measure) => measured(dag, placement, reach, measure));
  if (goal.kind === "worst") return Math.max(...sums);
  return sums.filter((sum) => sum > goal.within).length / sums.length;
}

function keepsPins(dag: Dag, placement: Placement, reach: number, { nodes, tensors }: Pins): boolean {
  if (placement.some((tier, node) => tier > (nodes?.[node] ?? Infinity))) return false;
  return dag.tensors.every(({ producer, consumers, kept }, index) => {
    const made = producer < 0 ? 0 : present(placement[producer]);
    const to = Math.max(made, kept ? reach : 0, ...consumers.map((node) => present(placement[node])));
    return to === made || to <= (tensors?.[index] ?? Infinity);
  });
}

/** The same question answered by trying everything. */
function byForce(
  dag: Dag,
  tiers: number,
  goal: SplitGoal,
  limits: readonly Limit[],
  pins: Pins,
): number | undefined {
  let best = Infinity;
  for (const { placement, reach } of everyPlacement(dag, tiers)) {
    if (!keepsPins(dag, placement, reach, pins)) continue;
    if (limits.some(({ of, atMost }) => measured(dag, placement, reach, of) > atMost + 1e-9)) continue;
    best = Math.min(best, valueOf(goal, dag, placement, reach));
  }
  return best === Infinity ? undefined : best;
}

/** One goal of every kind that the planner knows. */
function goalsOf(measures: ChainMeasures, dag: Dag, tiers: number, random: Random): [string, SplitGoal][] {
  const { meanMs, outcomesMs, deviceMillijoules, costMicros, disagreement, stagesMs } = measures;
  const mix = weighted(
    [
      [1, meanMs],
      [0.5 + random.next(), deviceMillijoules],
      [0.1, costMicros],
    ],
    dag,
    tiers,
  );
  const home = measured(dag, new Uint8Array(dag.nodes), 0, meanMs);
  return [
    ["mean", { kind: "sum", of: meanMs }],
    ["quantile", { kind: "sum", of: present(outcomesMs.at(-1)) }],
    ["energy", { kind: "sum", of: deviceMillijoules }],
    ["cost", { kind: "sum", of: costMicros }],
    ["agreement", { kind: "sum", of: disagreement }],
    ["weighted sum", { kind: "sum", of: mix }],
    ["busiest stage", { kind: "worst", of: stagesMs }],
    ["chance to be late", { kind: "miss", of: outcomesMs, within: home * (0.3 + 0.7 * random.next()) }],
  ];
}

/** No limit, or one or several that bite now and then. */
function limitsOf(measures: ChainMeasures, dag: Dag, random: Random): readonly Limit[] {
  const { meanMs, deviceMillijoules, costMicros, disagreement, deviceBytes } = measures;
  const home = new Uint8Array(dag.nodes);
  const upTo = (of: typeof meanMs, most: number): Limit[] =>
    random.next() < 0.5 ? [] : [{ of, atMost: random.next() * most }];
  return [
    ...upTo(meanMs, 2 * measured(dag, home, 0, meanMs)),
    ...upTo(deviceMillijoules, 2 * measured(dag, home, 0, deviceMillijoules)),
    ...upTo(costMicros, 1 + 2 * measured(dag, home, 0, costMicros)),
    ...upTo(disagreement, 0.1),
    ...upTo(deviceBytes, 1.2 * measured(dag, home, 0, deviceBytes)),
  ];
}

function pinsOf(dag: Dag, tiers: number, random: Random): Pins {
  const some = (length: number): (number | undefined)[] =>
    Array.from({ length }, () =>
      random.next() < 0.12 ? Math.floor(random.next() * (tiers - 1)) : undefined,
    );
  return { nodes: some(dag.nodes), tensors: some(dag.tensors.length) };
}

/** `npm run check:all` tries more. */
const graphs = Number(process.env["LONGSHORE_RANDOM_GRAPHS"] ?? 200);

describe("planSplit", () => {
  it("agrees with trying every placement, for every goal, with and without limits and pins, on two and three tiers", () => {
    let infeasible = 0;
    for (let seed = 0; seed < graphs; seed++) {
      const random = seededRandom(seed);
      const tiers = seed % 2 === 0 ? 2 : 3;
      const dag = randomDag(random, 1 + Math.floor(random.next() * (tiers === 2 ? 9 : 6)));
      const measures = chainMeasures(randomFacts(random, dag, tiers));
      for (const [name, goal] of goalsOf(measures, dag, tiers, random)) {
        const limits = seed % 3 === 0 ? [] : limitsOf(measures, dag, random);
        const pins = seed % 4 < 2 ? {} : pinsOf(dag, tiers, random);
        const about = `${name} of seed ${seed}`;
        const expected = byForce(dag, tiers, goal, limits, pins);
        const found = planSplit({ dag, tiers, goal, limits, pins });
        expect(found === undefined, about).toBe(expected === undefined);
        if (!found || expected === undefined) {
          infeasible++;
          continue;
        }
        expect(found.value, about).toBeCloseTo(expected, 6);
        expect(found.exact, about).toBe(true);
        expect(isLegal(dag, found.placement, found.reach), about).toBe(true);
        expect(keepsPins(dag, found.placement, found.reach, pins), about).toBe(true);
        expect(valueOf(goal, dag, found.placement, found.reach), about).toBeCloseTo(found.value, 6);
      }
    }
    expect(infeasible).toBeGreaterThan(10);
    expect(infeasible).toBeLessThan(graphs * 4);
  }, 300_000);

  it("reports the gap when it runs out of steps, and the bound holds", () => {
    let open = 0;
    for (let seed = 0; seed < 60; seed++) {
      const random = seededRandom(1000 + seed);
      const dag = randomDag(random, 8);
      const { stagesMs, deviceBytes } = chainMeasures(randomFacts(random, dag, 2));
      const goal: SplitGoal = { kind: "worst", of: stagesMs };
      const limits = [{ of: deviceBytes, atMost: 60 }];
      const found = planSplit({ dag, tiers: 2, goal, limits, mostSteps: 0 });
      const expected = byForce(dag, 2, goal, limits, {});
      if (!found || expected === undefined) continue;
      expect(found.value).toBeGreaterThanOrEqual(expected - 1e-6);
      expect(found.bound).toBeLessThanOrEqual(expected + 1e-6);
      if (found.exact) expect(found.value).toBeCloseTo(expected, 6);
      else open++;
    }
    expect(open).toBeGreaterThan(0);
  });

  it("plans three tiers of a graph far too wide to list", () => {
    const random = seededRandom(3);
    const dag = randomDag(random, 400);
    const { meanMs, stagesMs } = chainMeasures(randomFacts(random, dag, 3));
    const quickest = present(planSplit({ dag, tiers: 3, goal: { kind: "sum", of: meanMs } }));
    expect(quickest.exact).toBe(true);
    const busiest = present(
      planSplit({ dag, tiers: 3, goal: { kind: "worst", of: stagesMs }, mostSteps: 20_000 }),
    );
    expect(busiest.bound).toBeLessThanOrEqual(busiest.value);
    expect(busiest.value).toBeLessThan(1.2 * busiest.bound);
  });
});
