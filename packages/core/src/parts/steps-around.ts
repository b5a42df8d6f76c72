import { type Call, type Clock, LongshoreError, type Observer } from "../base/index.ts";
import {
  answersOf,
  type Endpoint,
  type InferenceRequest,
  type InferenceResponse,
} from "../endpoint/index.ts";
import { endCut, startCut, type Step } from "../model/index.ts";
import type { Tensor, Tensors } from "../tensor/index.ts";
import { stagesBetween } from "./around-place.ts";
import { withStepModels } from "./step-models.ts";
import { accountOf, valuesFrom } from "./step-there.ts";

/** Runs any part of a pipeline. */
type Run = (request: InferenceRequest, call: Call) => Promise<InferenceResponse>;

/**
 * Runs parts of pipelines here, and their steps of other places at the first of some that has the model, without planning: for who
 * measures. It waits for all of several answers, and gives the last; pipelines that have some are asked for whole. Throws `no-place`
 * that names a step which none of them has, or why the last one that failed could not say.
 */
export function stepsAround(
  local: Endpoint,
  places: readonly Endpoint[],
  parts: { readonly clock: Clock; readonly observer: Observer },
): Run {
  const { endpoints } = withStepModels({ ...parts, local, endpoints: places });
  const found = new Map<string, Endpoint>();

  async function placeOf(request: InferenceRequest["segment"], step: Step, call: Call): Promise<Endpoint> {
    const { model, version, digest, variant } = request;
    const key = JSON.stringify([digest, variant, step.id]);
    const known = found.get(key);
    if (known) return known;
    let failed: unknown;
    for (const place of endpoints) {
      try {
        if (!(await place.describe(model, version, call))) continue;
        const offers = await place.offers({ model, version }, call);
        // Of a pipeline that is not cut up, the whole stands for all of its steps.
        const offered = offers.some(({ segment: one }) => {
          return one.variant === variant && (one.to === step.id || one.to === endCut);
        });
        if (!offered) continue;
        found.set(key, place);
        return place;
      } catch (thrown) {
        // Another one may have it, too.
        failed = thrown;
      }
    }
    if (failed !== undefined) throw failed;
    const name = "model" in step.run ? step.run.model : "";
    const asked = places.map(({ info }) => info.address ?? info.id).join(", ") || "no other place was named";
    const what = `no place has ${name} (step ${step.id}) as the pipeline wants it: ${asked}`;
    throw new LongshoreError("no-place", "resolve", what);
  }

  return async (request, call) => {
    const { segment } = request;
    const known = (await local.describe(segment.model, segment.version, call))?.description;
    const body = known?.variants.find(({ name }) => name === segment.variant)?.body;
    if (known?.decoupled === true && segment.from === startCut && segment.to === endCut) {
      const step =
        body?.kind === "pipeline" ? body.steps.find(({ run }) => "model" in run && run.elsewhere) : undefined;
      const place = step ? await placeOf(segment, step, call) : local;
      let last: InferenceResponse = { outputs: new Map(), account: accountOf(local, segment, []) };
      for await (const answer of answersOf(place, request, call)) last = answer;
      return last;
    }
    if (body?.kind !== "pipeline") return local.infer(request, call);
    const stages = stagesBetween(body.steps, segment.from, segment.to);
    let values: Tensors = new Map<string, Tensor>();
    for (const [name, input] of request.inputs) {
      values = new Map(values).set(name, "read" in input ? await input.read(call) : input);
    }
    const done: InferenceResponse[] = [];
    for (const [index, { from, to, at, step }] of stages.entries()) {
      const place = step ? await placeOf(segment, step, call) : local;
      const last = index === stages.length - 1 && !step && request.outputs;
      const response = await place.infer(
        {
          segment: { ...segment, from, to },
          // What came in crosses where the first part begins, names inside a graph among it.
          inputs: index === 0 && !step ? values : valuesFrom(body, at, values),
          codecs: {},
          ...(last ? { outputs: last } : {}),
        },
        call,
      );
      done.push(response);
      values = step ? valuesFrom(body, at + 1, new Map([...values, ...response.outputs])) : response.outputs;
    }
    return {
      outputs: values,
      account: accountOf(
        local,
        segment,
        done.map(({ account }) => account),
      ),
    };
  };
}
