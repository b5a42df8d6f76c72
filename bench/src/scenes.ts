/** `bench scenes`: the demo's scenes as worlds on a virtual clock, the real offloader against plans that never change. */
import { endCut, type Result, seededRandom, startCut, type Tensors } from "@longshore/core";
import {
  bucketOf,
  expectedMs,
  type FixedPlan,
  meanBitsPerSecond,
  offloadWorld,
  type PlanCandidate,
  planCandidates,
  planName,
  planOf,
  runScenarioOn,
  type ScenarioRow,
  type SimulatedModel,
} from "@longshore/lab";
import {
  type Bench,
  type BenchContext,
  chosenOf,
  mean,
  type Measured,
  quantile,
  type Row,
} from "./harness.ts";
import { checkAnswers, plansToCheck } from "./scene-answers.ts";
import { type Scene, sceneList } from "./scene-list.ts";
import { sceneModels } from "./scene-models.ts";

const requests = 125;
/** Nothing is known of the world during these. */
const leftOut = 5;
/** Splits that are replayed for each endpoint, the quickest on idle links first. */
const splitsTried = 4;

/** What became of all requests of a scene under one way of deciding. */
interface Outcome {
  readonly rows: readonly ScenarioRow[];
  readonly plans: readonly (FixedPlan | undefined)[];
  /** Mean of the scene's own objective over the counted requests; smaller is better. */
  readonly score: number;
  readonly lost: number;
}

/** The scene's objective for one request; a failure costs as if the deadline had passed, or the answer were wrong. */
function costOf(scene: Scene, model: SimulatedModel, row: ScenarioRow, plan: FixedPlan | undefined): number {
  const answered = row.outcome === "answered";
  if (scene.objective === "latency")
    return answered ? row.tookMs : Math.max(scene.limits.deadlineMs, row.tookMs);
  // Whoever does not answer is not sparing: it costs what the device draws until the deadline.
  if (scene.objective === "energy") return answered ? row.energyMillijoules : scene.limits.deadlineMs * 2;
  const variant = model.description.variants.find(({ name }) => name === plan?.variant);
  return answered ? 1 - (variant?.accuracyRatio ?? 0) : 1;
}

async function play(
  scene: Scene,
  model: SimulatedModel,
  inputs: readonly Tensors[],
  seed: number,
  plan?: FixedPlan,
): Promise<Outcome> {
  const world = offloadWorld({ ...scene.world, models: [model], seed, learns: plan === undefined });
  const random = seededRandom(seed + 17);
  const face = plan ? world.fixed(model, plan) : world.offloader;
  const plans: (FixedPlan | undefined)[] = Array.from({ length: requests }, () => plan);
  let atMs = 500;
  const asked = Array.from({ length: requests }, (_, index) => {
    atMs += scene.everyMs * (0.6 + 0.8 * random.next());
    const note = (result: Result): boolean => {
      plans[index] = plan ?? planOf(result, world.device.info.id);
      return true;
    };
    const given = Object.fromEntries(inputs[index % inputs.length] ?? new Map());
    return { atMs, model: scene.model, inputs: given, limits: scene.limits, check: note };
  });
  scene.others?.(world, model, seed, atMs);
  const rows = await runScenarioOn(world.clock, {
    offloader: face,
    requests: asked,
    events: scene.events?.(world, atMs) ?? [],
  });
  const costs = rows.map((row, index) => costOf(scene, model, row, plans[index])).slice(leftOut);
  return {
    rows,
    plans,
    score: mean(costs),
    lost: rows.filter(({ outcome }) => outcome !== "answered").length,
  };
}

/** Fixed plans to compare with: each endpoint with each coding of the whole, and the most promising splits. */
function rivals(scene: Scene, model: SimulatedModel): readonly PlanCandidate[] {
  const found: PlanCandidate[] = [];
  for (const { name, tiers } of model.description.variants) {
    const variant = model.profile.variants.find((one) => one.variant === name);
    if (!variant) continue;
    const bucket = bucketOf(model.profile, name, { bytes: 0 });
    const least = scene.limits.minAgreementRatio ?? 0.995;
    if ((model.description.variants.find((one) => one.name === name)?.agreementRatio ?? 1) < least) continue;
    for (const { info, up, down, delayMs, speed = 1 } of scene.world.endpoints) {
      if (!scene.allowed.includes(info.id) || (tiers && !tiers.includes(info.tier))) continue;
      const prices = {
        deviceSpeed: scene.world.device.speed,
        endpointSpeed: speed,
        roundTripMs: 2 * delayMs,
        upBitsPerSecond: meanBitsPerSecond(up),
        downBitsPerSecond: meanBitsPerSecond(down),
      };
      const away = planCandidates(name, bucket, [info.id], least).filter(({ plan }) => plan.cut !== endCut);
      found.push(...away.filter(({ plan }) => plan.cut === startCut));
      // A variant that the device may not hold has no head there.
      if (tiers && !tiers.includes("device")) continue;
      const splits = away.filter(({ plan }) => plan.cut !== startCut);
      found.push(
        ...splits.sort((a, b) => expectedMs(a, prices) - expectedMs(b, prices)).slice(0, splitsTried),
      );
    }
    if (!tiers || tiers.includes("device")) {
      found.push(...planCandidates(name, bucket, []).filter(({ plan }) => plan.cut === endCut));
    }
  }
  return found;
}

/** The scene with a pace and a deadline that the device alone can keep on this machine, whatever else it is doing. */
function paced(scene: Scene, model: SimulatedModel): Scene {
  const { cuts } = bucketOf(model.profile, model.description.variants[0]?.name ?? "", { bytes: 0 });
  const wholeMs = cuts[0]?.tailMs ?? [0];
  const { device } = scene.world;
  const speed = scene.hereMs === undefined ? device.speed : mean(wholeMs) / scene.hereMs;
  return {
    ...scene,
    world: { ...scene.world, device: { ...device, speed } },
    everyMs: Math.max(scene.everyMs, (2 * mean(wholeMs)) / speed),
    limits: {
      ...scene.limits,
      deadlineMs: Math.max(scene.limits.deadlineMs, (6 * Math.max(...wholeMs)) / speed),
    },
  };
}

interface Judged {
  readonly ratio: number;
  readonly lost: number;
  readonly rows: readonly Row[];
  readonly plans: readonly FixedPlan[];
}

async function judge(
  asked: Scene,
  model: SimulatedModel,
  inputs: readonly Tensors[],
  seed: number,
  say: BenchContext["say"],
): Promise<Judged> {
  const scene = paced(asked, model);
  const ours = await play(scene, model, inputs, seed);
  const fixed: { readonly plan: FixedPlan; readonly outcome: Outcome }[] = [];
  for (const { plan } of rivals(scene, model)) {
    fixed.push({ plan, outcome: await play(scene, model, inputs, seed, plan) });
  }
  fixed.sort((a, b) => a.outcome.score - b.outcome.score);
  const [any] = fixed;
  const endpoint = fixed.find(({ plan }) => plan.cut === startCut || plan.cut === endCut);
  if (!any || !endpoint) throw new Error(`${scene.name}: no fixed plan can run`);
  const ratio = ours.score / endpoint.outcome.score;
  const shares = counted(ours.plans.slice(leftOut));
  const took = ours.rows.slice(leftOut).map(({ tookMs }) => tookMs);
  say(
    `  ${scene.name.padEnd(30)} ${short(ours.score).padStart(8)}  ${short(endpoint.outcome.score).padStart(8)} ${planName(endpoint.plan).padEnd(28)} ${ratio.toFixed(3)}  ${short(any.outcome.score).padStart(8)} ${planName(any.plan)}`,
  );
  say(
    `    ${shares
      .slice(0, 4)
      .map(([name, share]) => `${name} ${Math.round(100 * share)} %`)
      .join(", ")}; p95 ${short(quantile(took, 0.95))} ms; lost ${ours.lost}`,
  );
  const rows: Row[] = [
    ...ours.rows.map((row, index): Row => ({
      kind: "request",
      scene: scene.name,
      way: "longshore",
      index,
      counted: index >= leftOut,
      atMs: row.atMs,
      outcome: row.outcome,
      where: row.where,
      plan: plan(ours.plans[index]),
      tookMs: row.tookMs,
      predictedMs: Number.isFinite(row.predictedMs) ? row.predictedMs : null,
      millijoules: row.energyMillijoules,
      sentBytes: row.sentBytes,
      lostLegs: row.lostLegs,
      cost: costOf(scene, model, row, ours.plans[index]),
    })),
    ...fixed.map(({ plan: one, outcome }): Row => ({
      kind: "fixed",
      scene: scene.name,
      way: planName(one),
      score: outcome.score,
      lost: outcome.lost,
    })),
    {
      kind: "scene",
      scene: scene.name,
      objective: scene.objective,
      seed,
      score: ours.score,
      bestEndpoint: planName(endpoint.plan),
      bestEndpointScore: endpoint.outcome.score,
      bestFixed: planName(any.plan),
      bestFixedScore: any.outcome.score,
      ratio,
      lost: ours.lost,
    },
  ];
  return { ratio, lost: ours.lost, rows, plans: ours.plans.flatMap((one) => (one ? [one] : [])) };
}

const plan = (one: FixedPlan | undefined): string => (one ? planName(one) : "");
const short = (value: number): string => (value < 10 ? value.toFixed(3) : value.toFixed(0));

function counted(plans: readonly (FixedPlan | undefined)[]): readonly (readonly [string, number])[] {
  const counts = new Map<string, number>();
  for (const one of plans) counts.set(plan(one), (counts.get(plan(one)) ?? 0) + 1 / plans.length);
  return [...counts].sort(([, a], [, b]) => b - a);
}

export const bench: Bench = {
  name: "scenes",
  about: "the demo's scenes on a virtual clock: the real offloader against the best endpoint in hindsight",
  options: ["--scene NAME,..."],
  bars: { worstRatioToBestFixed: { atMost: 1.1 }, lostRequests: { atMost: 0 }, wrongAnswers: { atMost: 0 } },
  async run({ seed, data, args, say }): Promise<Measured> {
    const { scenes, notRun } = sceneList(seed, data);
    const names = scenes.map(({ name }) => name);
    const only = chosenOf(args, "scene", names) ?? names;
    const subjects = await sceneModels(say);
    try {
      const rows: Row[] = [];
      const chosen = new Map<string, Map<string, FixedPlan>>();
      const ratios: number[] = [];
      let lost = 0;
      say(
        `  scene                              ours      best endpoint                        ratio      best fixed plan`,
      );
      for (const [index, scene] of scenes.entries()) {
        if (!only.includes(scene.name)) continue;
        const subject = subjects.models.get(scene.model);
        if (!subject) continue;
        const judged = await judge(scene, subject.simulated, subject.inputs, seed + 1000 * index, say);
        rows.push(...judged.rows);
        ratios.push(judged.ratio);
        lost += judged.lost;
        const plans = chosen.get(scene.model) ?? new Map<string, FixedPlan>();
        for (const one of judged.plans)
          plans.set(planName({ ...one, endpoint: one.endpoint === undefined ? "" : "any" }), one);
        chosen.set(scene.model, plans);
      }
      const profiles = new Map(
        [...subjects.models].map(([name, { simulated }]) => [name, simulated.profile]),
      );
      const lists = new Map([...chosen].map(([name, plans]) => [name, [...plans.values()]]));
      const answers = await checkAnswers(subjects, plansToCheck(lists, profiles));
      for (const row of answers.rows) {
        say(
          `  ${String(row["model"])} ${String(row["plan"])}${row["chosen"] === true ? "" : " (not chosen)"} ${String(row["file"])}: agreement ${Number(row["agreement"]).toFixed(4)}${row["accuracy"] === null ? "" : `, accuracy ${Number(row["accuracy"]).toFixed(3)} (in one piece ${Number(row["accuracyAlone"]).toFixed(3)})`}`,
        );
      }
      return {
        figures: {
          worstRatioToBestFixed: Math.max(...ratios),
          lostRequests: lost,
          wrongAnswers: answers.wrong,
        },
        rows: [...rows, ...answers.rows],
        notRun,
      };
    } finally {
      await subjects.close();
    }
  },
};
