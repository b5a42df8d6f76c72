import {
  type Account,
  type Endpoint,
  housekeepingCall,
  type ModelDescription,
  radios,
  silentObserver,
  sleep,
  type Step,
  type Tensor,
} from "@longshore/core";
import { type FixedPlan, followPlan, type Simulation, type StepTime, wholeSegment } from "@longshore/lab";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { dial, type Place, serverInfo } from "longshore/measure";
import { mean } from "../harness.ts";

/** The steps of a pipeline; undefined for one graph. */
export function stepsOf({ variants }: ModelDescription): readonly Step[] | undefined {
  const body = variants[0]?.body;
  return body?.kind === "pipeline" ? body.steps : undefined;
}

/** Runs of which the mean is told. */
const runsAtRest = 4;

/**
 * What a server tells of some runs of a plan that leaves this device at once, while it has nothing else to do: one every `gapMs`, since
 * a processor that rested is slower than one that works without a break.
 */
export async function atRest(
  { model, inputs }: Simulation,
  server: Place,
  { plan, gapMs }: { readonly plan: FixedPlan; readonly gapMs: number },
): Promise<readonly Account[]> {
  const clock = systemClock();
  const about = {
    address: `http://127.0.0.1:${server.port}`,
    id: "rest",
    tier: "cloud",
    zone: "remote",
  } as const;
  const place = dial(serverInfo(about), { clock, random: systemRandom(), observer: silentObserver });
  const face = followPlan({
    clock,
    device: place,
    place: () => place,
    segment: wholeSegment(model.description),
    choose: () => plan,
    activeWatts: 0,
    radio: radios.wired,
  });
  const accounts: Account[] = [];
  try {
    for (let run = 0; run < runsAtRest; run++) {
      await sleep(clock, gapMs);
      accounts.push(...(await face.infer(model.description.name, inputs)).accounts);
    }
  } finally {
    await place.close();
  }
  return accounts;
}

/**
 * The steps of a pipeline as a server that had nothing else to do worked them: the mean time of each. For how many elements
 * a step runs is found with `engine`, on the inputs of the simulation. Undefined for a model of one graph.
 */
export async function servedSteps(
  { model: { description }, inputs }: Simulation,
  engine: Endpoint,
  accounts: readonly Account[],
): Promise<readonly StepTime[] | undefined> {
  const all = stepsOf(description);
  if (!all) return undefined;
  const call = housekeepingCall("steps");
  const tensors = new Map(Object.entries(inputs as Readonly<Record<string, Tensor>>));

  /** So many runs: what a step for each element made is joined along the first axis. */
  async function runsOf({ id, run, forEach }: Step): Promise<number> {
    if (!("model" in run) || forEach === undefined) return 1;
    const segment = { ...wholeSegment(description), to: id };
    const { outputs } = await engine.infer({ segment, inputs: tensors, codecs: {} }, call);
    for (const [name, { spec }] of outputs) if (name.startsWith(`${id}.`)) return spec.shape[0] ?? 1;
    return 1;
  }

  const steps: StepTime[] = [];
  for (const step of all) {
    const took = accounts.map(({ stages }) =>
      stages
        .filter(({ stage, name }) => name === step.id && (stage === "run" || stage === "transform"))
        .reduce((sum, { tookMs }) => sum + tookMs, 0),
    );
    steps.push({
      id: step.id,
      graph: "model" in step.run ? step.run.model : undefined,
      tookMs: mean(took),
      runs: await runsOf(step),
    });
  }
  return steps;
}
