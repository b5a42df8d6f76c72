import { endCut, type Limits, type Offloader, type Result, seededRandom, startCut } from "@longshore/core";
import {
  type FixedPlan,
  type OffloadWorld,
  offloadWorld,
  planName,
  planOf,
  runScenarioOn,
  type ScenarioRow,
} from "../world/index.ts";
import { allowedPlans, fixedPlans } from "./allowed-plans.ts";
import { crowd } from "./crowd.ts";
import { wayFigures } from "./figures.ts";
import { oracle } from "./oracle.ts";
import type { SimulatedRow, SimulatedWay, Simulation } from "./simulation.ts";

/** How requests are decided on in a world. */
interface Decided {
  readonly face: Pick<Offloader, "infer">;
  /** By what plan a request was answered. */
  planOf(index: number, result: Result): FixedPlan | undefined;
}

type Decide = (world: OffloadWorld) => Decided;

/**
 * Replays a simulation in equal worlds: under the real offloader, under the oracle, and under the plans that never change,
 * of which the device alone, the best coding at each endpoint, and the best of all in hindsight are kept. Same simulation:
 * the same result, to the byte. Throws what the offloader throws when nothing may run anywhere, and what `progress` throws, which
 * ends it between two replays.
 */
export async function simulate(
  simulation: Simulation,
  progress: (text: string) => void = () => undefined,
): Promise<readonly SimulatedWay[]> {
  const { limits, model } = simulation;
  const way = (
    name: string,
    kind: SimulatedWay["kind"],
    rows: readonly SimulatedRow[],
    plan?: FixedPlan,
  ): SimulatedWay => ({
    name,
    kind,
    plan: plan && planName(plan),
    figures: wayFigures(rows.slice(simulation.notCounted), limits),
    rows,
  });
  progress("replaying longshore");
  const ours = way("longshore", "longshore", await simulateOurs(simulation));
  progress("replaying the oracle");
  const candidates = allowedPlans(simulation);
  const rows = await play(simulation, false, (world) => {
    const choose = oracle(world, simulation, candidates);
    // Asked once for each request, in the order in which they come.
    const chosen: FixedPlan[] = [];
    const face = world.follow(model, () => {
      const plan = choose();
      chosen.push(plan);
      return plan;
    });
    return { face, planOf: (index) => chosen[index] };
  });
  const best = way("oracle", "oracle", rows);
  const fixed: { readonly plan: FixedPlan; readonly way: SimulatedWay }[] = [];
  const tried = fixedPlans(simulation);
  for (const { plan } of tried) {
    progress(`replaying plan ${fixed.length + 1} of ${tried.length}`);
    const played = await simulatePlan(simulation, plan);
    fixed.push({ plan, way: way(planName(plan), "fixed", played, plan) });
  }
  return [ours, best, ...baselines(fixed, limits)].map((one) => ({
    ...one,
    figures: { ...one.figures, vsOracle: overOracle(one.figures.objective, best.figures.objective) },
  }));
}

/** 1 where there was nothing to lose; null where the oracle lost nothing and this did. */
function overOracle(own: number, least: number): number | null {
  if (least !== 0) return own / least;
  return own === 0 ? 1 : null;
}

/** Replays a simulation under one plan that never changes. */
export function simulatePlan(simulation: Simulation, plan: FixedPlan): Promise<readonly SimulatedRow[]> {
  return play(simulation, false, (world) => ({
    face: world.fixed(simulation.model, plan),
    planOf: () => plan,
  }));
}

/** Replays a simulation under the real offloader. */
export function simulateOurs(simulation: Simulation): Promise<readonly SimulatedRow[]> {
  return play(simulation, true, ourWay);
}

function ourWay({ offloader, device }: OffloadWorld): Decided {
  return { face: offloader, planOf: (_, result) => planOf(result, device.info.id) };
}

/** All here, all there in the best coding for each endpoint, and the best of everything; each in hindsight. */
function baselines(
  fixed: readonly { readonly plan: FixedPlan; readonly way: SimulatedWay }[],
  limits: Limits,
): readonly SimulatedWay[] {
  // A plan that keeps fewer deadlines is not better, however quick the rest is.
  const allowed = limits.deadlineMs === undefined ? 0 : 1 - (limits.minInTimeRatio ?? 0.99);
  const rank = ({ way: { figures } }: (typeof fixed)[number]): number =>
    Math.max(0, figures.missed / figures.counted - allowed) * 1e12 +
    (Number.isFinite(figures.objective) ? figures.objective : 1e15);
  const sorted = [...fixed].sort((a, b) => rank(a) - rank(b));
  const found: SimulatedWay[] = [];
  const here = sorted.find(({ plan }) => plan.cut === endCut);
  if (here) found.push({ ...here.way, name: "always the device", kind: "device" });
  for (const endpoint of new Set(fixed.flatMap(({ plan }) => plan.endpoint ?? []))) {
    const whole = sorted.find(({ plan }) => plan.cut === startCut && plan.endpoint === endpoint);
    if (whole) found.push({ ...whole.way, name: `always ${endpoint}`, kind: "endpoint" });
  }
  if (sorted[0]) found.push({ ...sorted[0].way, name: "best fixed plan", kind: "fixed" });
  return found;
}

async function play(
  simulation: Simulation,
  learns: boolean,
  decide: Decide,
): Promise<readonly SimulatedRow[]> {
  const { model, inputs, device, endpoints, arrivalsMs, limits, seed } = simulation;
  const world = offloadWorld({ models: [model], device, endpoints, seed, learns });
  const untilMs = arrivalsMs[arrivalsMs.length - 1] ?? 0;
  for (const [index, { info, speed = 1, instances = 1, crowdRatio = 0 }] of endpoints.entries()) {
    const random = seededRandom(seed + 104_729 * (index + 1));
    crowd(world, model, { endpoint: info.id, speed, instances, busyRatio: crowdRatio, untilMs, random });
  }
  const { face, planOf: planOfRequest } = decide(world);
  const plans: (FixedPlan | undefined)[] = [];
  const requests = arrivalsMs.map((atMs, index) => ({
    atMs,
    model: model.description.name,
    inputs,
    limits,
    check: (result: Result) => {
      plans[index] = planOfRequest(index, result);
      return true;
    },
  }));
  const rows = await runScenarioOn(world.clock, { offloader: face, requests });
  return rows.map((row) => simulatedRow(row, plans[row.index]));
}

function simulatedRow(row: ScenarioRow, plan: FixedPlan | undefined): SimulatedRow {
  return {
    index: row.index,
    atMs: row.atMs,
    outcome: row.outcome,
    where: row.where,
    plan: plan ? planName(plan) : "",
    away: plan?.endpoint ?? "",
    because: row.because,
    tookMs: row.tookMs,
    stagesMs: row.stagesMs,
    predictedMs: Number.isFinite(row.predictedMs) ? row.predictedMs : null,
    sentBytes: row.sentBytes,
    receivedBytes: row.receivedBytes,
    millijoules: row.energyMillijoules,
    costMicros: row.costMicros,
    lostLegs: row.lostLegs,
  };
}
