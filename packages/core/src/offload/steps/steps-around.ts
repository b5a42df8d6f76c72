import { type Call, type Clock, LongshoreError, type Observer } from "../../words/base/index.ts";
import {
  answersOf,
  type Endpoint,
  type InferenceRequest,
  type InferenceResponse,
  readInputs,
} from "../../wire/endpoint/index.ts";
import { endCut, startCut, type Step } from "../../words/model/index.ts";
import type { Tensors } from "../../words/tensor/index.ts";
import { stagesBetween } from "./around-endpoint.ts";
import { withStepModels } from "./step-models.ts";
import { joinedAccount, valuesFrom } from "./remote-step.ts";

/** Runs any part of a pipeline. */
type Run = (request: InferenceRequest, call: Call) => Promise<InferenceResponse>;

/**
 * Runs parts of pipelines here, and their other steps at the first endpoint that has the model, without planning; used for measurements. It
 * waits for all of several answers and returns the last. A pipeline with such a model is requested as a whole. Throws `no-endpoint` with
 * the step that no endpoint has, or with the last error.
 */
export function stepsAround(
  local: Endpoint,
  servers: readonly Endpoint[],
  parts: { readonly clock: Clock; readonly observer: Observer },
): Run {
  const { endpoints } = withStepModels({ ...parts, local, endpoints: servers });
  const found = new Map<string, Endpoint>();

  async function endpointOf(request: InferenceRequest["segment"], step: Step, call: Call): Promise<Endpoint> {
    const { model, version, digest, variant } = request;
    const key = JSON.stringify([digest, variant, step.id]);
    const known = found.get(key);
    if (known) return known;
    let failed: unknown;
    for (const endpoint of endpoints) {
      try {
        if (!(await endpoint.describe(model, version, call))) continue;
        const offers = await endpoint.offers({ model, version }, call);
        // For a pipeline that is not cut, the whole stands for all of its steps.
        const offered = offers.some(({ segment: one }) => {
          return one.variant === variant && (one.to === step.id || one.to === endCut);
        });
        if (!offered) continue;
        found.set(key, endpoint);
        return endpoint;
      } catch (thrown) {
        // Another endpoint may have it too.
        failed = thrown;
      }
    }
    if (failed !== undefined) throw failed;
    const name = "model" in step.run ? step.run.model : "";
    const asked =
      servers.map(({ info }) => info.address ?? info.id).join(", ") || "no other endpoint was named";
    const what = `no endpoint has ${name} (step ${step.id}) as the pipeline wants it: ${asked}`;
    throw new LongshoreError("no-endpoint", "resolve", what);
  }

  return async (request, call) => {
    const { segment } = request;
    const known = (await local.describe(segment.model, segment.version, call))?.description;
    const body = known?.variants.find(({ name }) => name === segment.variant)?.body;
    if (known?.decoupled === true && segment.from === startCut && segment.to === endCut) {
      const step =
        body?.kind === "pipeline" ? body.steps.find(({ run }) => "model" in run && run.elsewhere) : undefined;
      const endpoint = step ? await endpointOf(segment, step, call) : local;
      let last: InferenceResponse = { outputs: new Map(), account: joinedAccount(local, segment, []) };
      for await (const answer of answersOf(endpoint, request, call)) last = answer;
      return last;
    }
    if (body?.kind !== "pipeline") return local.infer(request, call);
    const stages = stagesBetween(body.steps, segment.from, segment.to);
    let values: Tensors = await readInputs(request.inputs, call);
    const done: InferenceResponse[] = [];
    for (const [index, { from, to, at, step }] of stages.entries()) {
      const endpoint = step ? await endpointOf(segment, step, call) : local;
      const last = index === stages.length - 1 && !step && request.outputs;
      const response = await endpoint.infer(
        {
          segment: { ...segment, from, to },
          // The inputs cross where the first part begins, and may use names inside a graph.
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
      account: joinedAccount(
        local,
        segment,
        done.map(({ account }) => account),
      ),
    };
  };
}
