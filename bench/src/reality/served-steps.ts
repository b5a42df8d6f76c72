import { type Account, type Endpoint, housekeepingCall, type Step, type Tensor } from "@longshore/core";
import { type Simulation, type StepTime, wholeSegment } from "@longshore/lab";
import { quantile } from "../harness.ts";

/**
 * The steps of a pipeline as a server that had nothing else to do worked them: the usual time of each. For how many elements
 * a step runs is found with `engine`, on the inputs of the simulation. Undefined for a model of one graph.
 */
export async function servedSteps(
  { model: { description }, inputs }: Simulation,
  engine: Endpoint,
  accounts: readonly Account[],
): Promise<readonly StepTime[] | undefined> {
  const body = description.variants[0]?.body;
  if (body?.kind !== "pipeline") return undefined;
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
  for (const step of body.steps) {
    const took = accounts.map(({ stages }) =>
      stages
        .filter(({ stage, name }) => name === step.id && (stage === "run" || stage === "transform"))
        .reduce((sum, { tookMs }) => sum + tookMs, 0),
    );
    steps.push({
      id: step.id,
      graph: "model" in step.run ? step.run.model : undefined,
      tookMs: quantile(took, 0.5),
      runs: await runsOf(step),
    });
  }
  return steps;
}
