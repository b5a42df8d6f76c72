import { endCut, housekeepingCall, type InferenceRequest, type Segment, type Tensors } from "@longshore/core";
import type { Engine } from "@longshore/engine";
import type { FixedPlan } from "@longshore/lab";
import { platformCodecs } from "longshore/measure";

const call = housekeepingCall("answers");
const codecs = platformCodecs();

/** What a segment really gives; between a cut and itself nothing runs. */
async function run(engine: Engine, segment: Segment, inputs: Tensors): Promise<Tensors> {
  if (segment.from === segment.to) return inputs;
  const request: InferenceRequest = { segment, inputs, codecs: {} };
  return (await engine.infer(request, call)).outputs;
}

/** What the model really gives in one piece. */
export function runWhole(engine: Engine, whole: Segment, inputs: Tensors): Promise<Tensors> {
  return run(engine, whole, inputs);
}

/** What the model really gives by a plan, its parts one after another and what crosses encoded and decoded in between. */
export async function runPlan(
  engine: Engine,
  whole: Segment,
  plan: FixedPlan,
  inputs: Tensors,
): Promise<{ readonly outputs: Tensors; readonly lossy: boolean }> {
  const back = plan.back ?? endCut;
  const crossing = new Map(await run(engine, { ...whole, to: plan.cut }, inputs));
  let lossy = false;
  for (const [name, id] of Object.entries(plan.codecs)) {
    const codec = codecs.get(id);
    const tensor = crossing.get(name);
    if (!codec || !tensor) continue;
    lossy ||= !codec.lossless;
    crossing.set(name, await codec.decode(await codec.encode(tensor, call), call));
  }
  if (plan.cut === endCut) return { outputs: crossing, lossy };
  const there = await run(engine, { ...whole, from: plan.cut, to: back }, crossing);
  return { outputs: await run(engine, { ...whole, from: back }, there), lossy };
}
