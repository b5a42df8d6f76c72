import { type Inputs, LongshoreError, type Offloader, type Result, type Tensors } from "@longshore/core";
import {
  type FixedPlan,
  type OffloadWorld,
  type OffloadWorldParts,
  offloadWorld,
  planOf,
} from "@longshore/lab";

/** The requests of a replay. */
export interface ReplayDemand {
  readonly model: string;
  readonly inputs: readonly Tensors[];
  readonly requests: number;
  /** The interval of requests in milliseconds; undefined: each follows the answer to the one before. */
  readonly everyMs: number | undefined;
  readonly deadlineMs: number | undefined;
  /** Whether the time is over: a replay then ends once it has a few requests of one seed. Default: never. */
  readonly isOver?: () => boolean;
}

/** The outcome of the requests of a replay, without the first few: the world is unknown then. */
export interface Score {
  readonly meanMs: number;
  readonly p95Ms: number;
  /** Of this device, estimated, for each request. */
  readonly millijoules: number;
  readonly sentBytes: number;
  /** Requests that failed or came after the deadline; each counts the deadline as its time. */
  readonly misses: number;
  readonly counted: number;
  /** How often each plan gave the answer, most often first. */
  readonly plans: readonly { readonly plan: FixedPlan; readonly ratio: number }[];
}

const leftOut = 5;
/** Requests that a replay sends in any case: those that are not counted, and as many again. */
const leastRequests = 2 * leftOut;

interface Row {
  readonly tookMs: number;
  readonly result: Result | undefined;
}

/** The same demand in fresh worlds that differ in their seed alone. */
export interface Replayed {
  /** Of all of them together. */
  readonly score: Score;
  /** Mean time in each, in the order of the seeds, to be compared with another way in pairs; fewer where the time was over. */
  readonly means: readonly number[];
}

/** Replays the demand once for each seed, under the offloader or under a plan that never changes. */
export async function replayRequests(
  parts: OffloadWorldParts,
  demand: ReplayDemand,
  seeds: readonly number[],
  plan?: FixedPlan,
): Promise<Replayed> {
  const [model] = parts.models;
  if (!model) throw new LongshoreError("internal", "plan", "a replay needs a model");
  const counted: Row[] = [];
  const means: number[] = [];
  for (const seed of seeds) {
    if (means.length > 0 && demand.isOver?.() === true) break;
    const world = offloadWorld({ ...parts, seed, learns: plan === undefined });
    const face = plan ? world.fixed(model, plan) : world.offloader;
    const rows = await world.clock.runUntil(ask(world, face, demand));
    const own = rows.slice(Math.min(leftOut, rows.length - 1));
    means.push(own.reduce((sum, { tookMs }) => sum + tookMs, 0) / own.length);
    counted.push(...own);
  }
  return { score: scoreOf(counted, parts.device.info.id, plan), means };
}

function scoreOf(counted: readonly Row[], device: string, plan: FixedPlan | undefined): Score {
  const took = counted.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
  const answered = counted.flatMap(({ result }) => (result ? [result] : []));
  const perRequest = (of: (result: Result) => number): number =>
    answered.reduce((sum, result) => sum + of(result), 0) / Math.max(1, answered.length);
  return {
    meanMs: took.reduce((sum, ms) => sum + ms, 0) / took.length,
    p95Ms: took[Math.min(took.length - 1, Math.floor(0.95 * took.length))] ?? NaN,
    millijoules: perRequest((result) => result.energy.millijoules),
    sentBytes: perRequest((result) => result.sentBytes),
    misses: counted.length - answered.length,
    counted: counted.length,
    plans: shares(answered.map((result) => plan ?? planOf(result, device))),
  };
}

function ask(
  world: OffloadWorld,
  face: Pick<Offloader, "infer">,
  demand: ReplayDemand,
): Promise<readonly Row[]> {
  const { clock } = world;
  const beganMs = clock.nowMs();
  async function one(index: number): Promise<Row> {
    const { model, inputs, deadlineMs } = demand;
    const sample: Inputs = Object.fromEntries(inputs[index % inputs.length] ?? new Map());
    const startedMs = clock.nowMs();
    try {
      const result = await face.infer(model, sample, deadlineMs === undefined ? {} : { deadlineMs });
      return { tookMs: clock.nowMs() - startedMs, result };
    } catch (error) {
      if (deadlineMs === undefined) throw error;
      return { tookMs: Math.max(deadlineMs, clock.nowMs() - startedMs), result: undefined };
    }
  }
  const indices = Array.from({ length: demand.requests }, (_, index) => index);
  const { everyMs } = demand;
  if (everyMs !== undefined) {
    const at = (ms: number): Promise<void> =>
      new Promise((resolve) => clock.timer(beganMs + ms - clock.nowMs(), resolve));
    return Promise.all(
      indices.map(async (index) => {
        await at(index * everyMs);
        return one(index);
      }),
    );
  }
  return (async () => {
    const rows: Row[] = [];
    for (const index of indices) {
      if (index >= leastRequests && demand.isOver?.() === true) break;
      rows.push(await one(index));
    }
    return rows;
  })();
}

function shares(plans: readonly FixedPlan[]): Score["plans"] {
  const counts = new Map<string, { readonly plan: FixedPlan; count: number }>();
  for (const plan of plans) {
    const key = JSON.stringify([
      plan.variant,
      plan.cut,
      plan.endpoint,
      plan.back,
      Object.entries(plan.codecs).sort(([a], [b]) => (a < b ? -1 : 1)),
    ]);
    const found = counts.get(key);
    if (found) found.count += 1;
    else counts.set(key, { plan, count: 1 });
  }
  return [...counts.values()]
    .sort((a, b) => b.count - a.count)
    .map(({ plan, count }) => ({ plan, ratio: count / plans.length }));
}
