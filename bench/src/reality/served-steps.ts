import {
  type Account,
  type Endpoint,
  type ModelDescription,
  type Result,
  silentObserver,
  type StageTime,
  startCut,
  type Step,
  type Tensor,
} from "@longshore/core";
import { housekeepingCall, radios, sleep } from "@longshore/core/internal";
import { elementsTogether } from "@longshore/engine";
import { followPlan, type Simulation, type StepTime, wholeSegment } from "@longshore/lab";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { dial, type DemoEndpoint, serverInfo } from "longshore/measure";
import { mean } from "../harness.ts";

/** The steps of a pipeline; undefined for one graph. */
export function stepsOf({ variants }: ModelDescription): readonly Step[] | undefined {
  const body = variants[0]?.body;
  return body?.kind === "pipeline" ? body.steps : undefined;
}

/** A pipeline as an idle server ran it. */
export interface Served {
  /** The times of each step, of a mean run. */
  readonly steps: readonly StepTime[];
  /** The whole time of the server, in milliseconds, including the time between steps and their waits for each other. */
  readonly wholeMs: number;
}

/** The times of a run. */
export interface Ran extends Pick<Result, "tookMs"> {
  readonly accounts: readonly Pick<Account, "stages">[];
}

/** Runs that the mean is over. */
const runsAtRest = 4;

/**
 * Some runs of a whole pipeline at an idle server: one every `gapMs`, since a processor that rested is slower than one that
 * works without a break. Inputs are sent as they are, so that nothing is decoded.
 */
export async function atRest(
  { model, inputs }: Simulation,
  server: DemoEndpoint,
  { variant, gapMs }: { readonly variant: string; readonly gapMs: number },
): Promise<readonly Result[]> {
  const clock = systemClock();
  const about = {
    address: `http://127.0.0.1:${server.port}`,
    id: "rest",
    tier: "cloud",
    zone: "remote",
  } as const;
  const endpoint = dial(serverInfo(about), { clock, random: systemRandom(), observer: silentObserver });
  const face = followPlan({
    clock,
    device: endpoint,
    endpoint: () => endpoint,
    segment: wholeSegment(model.description),
    choose: () => ({ variant, cut: startCut, endpoint: about.id, codecs: {} }),
    activeWatts: 0,
    radio: radios.wired,
  });
  const results: Result[] = [];
  try {
    for (let run = 0; run < runsAtRest; run++) {
      await sleep(clock, gapMs);
      results.push(await face.infer(model.description.name, inputs));
    }
  } finally {
    await endpoint.close();
  }
  return results;
}

/**
 * The server's account of its runs at rest. `engine` finds the number of elements that a step runs for, on the inputs of the
 * simulation, and how many of them it works on together. Undefined for a model of one graph.
 */
export async function asServed(
  {
    model,
    inputs,
  }: Pick<Simulation, "inputs"> & { readonly model: Pick<Simulation["model"], "description"> },
  engine: Pick<Endpoint, "describe" | "infer">,
  results: readonly Ran[],
): Promise<Served | undefined> {
  const { description } = model;
  const all = stepsOf(description);
  if (!all) return undefined;
  const call = housekeepingCall("steps");
  const tensors = new Map(Object.entries(inputs as Readonly<Record<string, Tensor>>));

  /** The outputs of a step for each element are joined along the first axis. */
  async function elementsOf({ id, forEach }: Step): Promise<number> {
    if (forEach === undefined) return 1;
    const segment = { ...wholeSegment(description), to: id };
    const { outputs } = await engine.infer({ segment, inputs: tensors, codecs: {} }, call);
    for (const [name, { spec }] of outputs) if (name.startsWith(`${id}.`)) return spec.shape[0] ?? 1;
    return 1;
  }

  let width = 1;
  for (const { run, forEach } of all) {
    if (!("model" in run) || forEach === undefined) continue;
    const known = await engine.describe(run.model, run.version, call);
    width = Math.max(width, known?.description.batching.maxBatchSize ?? 1);
  }
  const together = elementsTogether(width);
  const steps: StepTime[] = [];
  for (const step of all) {
    const took = results.map((result) =>
      stageMs(result, ({ stage, name }) => name === step.id && (stage === "run" || stage === "transform")),
    );
    steps.push({
      id: step.id,
      graph: "model" in step.run ? step.run.model : undefined,
      tookMs: mean(took),
      runs: await elementsOf(step),
      ...(step.forEach === undefined ? {} : { together }),
    });
  }
  const whole = results.map((result) => result.tookMs - stageMs(result, ({ stage }) => stage === "network"));
  return { steps, wholeMs: mean(whole) };
}

function stageMs({ accounts }: Ran, counts: (stage: StageTime) => boolean): number {
  const stages = accounts.flatMap((account) => account.stages).filter(counts);
  return stages.reduce((sum, { tookMs }) => sum + tookMs, 0);
}
