import { type Call, fanOut, LongshoreError } from "../../words/base/index.ts";
import {
  type Account,
  type Endpoint,
  type IncomingTensor,
  type InferenceRequest,
  type InferenceResponse,
  type LoadReport,
  type Progress,
  type StageTime,
  readInputs,
  renamedInput,
} from "../../wire/endpoint/index.ts";
import { collected, eachInputs, type Segment, type Step } from "../../words/model/index.ts";
import { renamed, shapeFits, type Tensor, type Tensors, type TensorSpec } from "../../words/tensor/index.ts";

/** A step's model at an endpoint. */
export interface RemoteStep {
  readonly segment: Segment;
  readonly agreementRatio: number;
  /** The segment to request there: the whole model, or the part if the operator listed it as a model of its own. */
  readonly there: Segment;
  readonly step: Step;
  /** Outputs of the model under the names of the pipeline; for a step that runs for each element, those of one element. */
  readonly outputs: readonly TensorSpec[];
  /** Whether it may give several answers to a request. */
  readonly several: boolean;
}

/** Elements of one request that are under way at an endpoint together, so that its own batching can join them. */
const elementsUnderWay = 8;

/** Runs a step at an endpoint: its model once, or once for each element. */
export async function runStep(
  inner: Endpoint,
  step: RemoteStep,
  request: InferenceRequest,
  call: Call,
  progress?: Progress,
): Promise<InferenceResponse> {
  if (step.step.forEach !== undefined) return runEach(inner, step, request, call, progress);
  const response = await inner.infer(modelRequest(step, request), call, progress);
  return stepResponse(step, request, response, inner.info.id);
}

/** All answers to one request for a step. */
export async function* stepAnswers(
  inner: Endpoint,
  step: RemoteStep,
  request: InferenceRequest,
  call: Call,
): AsyncIterable<InferenceResponse> {
  const inferStream = inner.capabilities.inferStream;
  if (!step.several || !inferStream) {
    yield await runStep(inner, step, request, call);
    return;
  }
  for await (const response of inferStream(modelRequest(step, request), call)) {
    yield stepResponse(step, request, response, inner.info.id);
  }
}

/** Each element is a request of its own, since the endpoint knows no lists of tensors with different shapes. */
async function runEach(
  inner: Endpoint,
  one: RemoteStep,
  request: InferenceRequest,
  call: Call,
  progress: Progress | undefined,
): Promise<InferenceResponse> {
  const { step, outputs } = one;
  const { wire: _wire, sequence: _position, inputs, ...rest } = request;
  const taken = new Set(Object.values(step.inputs));
  const values = await readInputs(new Map([...inputs].filter(([name]) => taken.has(name))), call);
  const elements = eachInputs(step, values);
  const wanted = outputs.filter(({ name }) => !request.outputs || request.outputs.includes(name));
  const acknowledged = new Map<number, number>();
  const responses = await fanOut(elements.length, elementsUnderWay, call, async (index, own) => {
    // Keyed by value, as a request for the step has them.
    const taken = new Map(
      Object.entries(step.inputs).flatMap(([port, value]): [string, Tensor][] => {
        const tensor = elements[index]?.get(port);
        return tensor ? [[value, tensor]] : [];
      }),
    );
    const key = call.idempotencyKey;
    const asked = key === undefined ? own : { ...own, idempotencyKey: `${key}.${index}` };
    const heard: Progress | undefined = progress && {
      acknowledged(bytes) {
        acknowledged.set(index, bytes);
        progress.acknowledged([...acknowledged.values()].reduce((total, each) => total + each, 0));
      },
      ...(progress.refused ? { refused: (load: LoadReport) => progress.refused?.(load) } : {}),
    };
    const response = await inner.infer(modelRequest(one, { ...rest, inputs: taken }), asked, heard);
    const given = stepResponse(one, request, response, inner.info.id);
    const missing = wanted.find(({ name }) => !given.outputs.has(name));
    if (!missing) return given;
    const what = `${inner.info.id} did not give ${missing.name} of element ${index}`;
    throw new LongshoreError("bad-reply", "decode", what);
  });
  const { load } = responses.at(-1) ?? {};
  return {
    outputs: collected(
      responses.map((response) => response.outputs),
      wanted,
    ),
    account: joinedAccount(
      inner,
      request.segment,
      responses.map(({ account }) => account),
      Math.max(1, Math.min(elementsUnderWay, elements.length)),
    ),
    ...(load ? { load } : {}),
    ...(responses.length > 0 && responses.every(({ forgotInputs }) => forgotInputs)
      ? { forgotInputs: true as const }
      : {}),
  };
}

/** Joins the accounts of several runs. `together` runs were under way at once and share the elapsed time. */
export function joinedAccount(
  { info }: Endpoint,
  segment: Segment,
  accounts: readonly Account[],
  together = 1,
): Account {
  const stages = new Map<string, StageTime>();
  for (const stage of accounts.flatMap((one) => one.stages)) {
    const key = `${stage.stage} ${stage.name}`;
    const tookMs = (stages.get(key)?.tookMs ?? 0) + stage.tookMs / together;
    stages.set(key, { ...stage, tookMs });
  }
  const sum = (of: (account: Account) => number): number =>
    accounts.reduce((total, account) => total + of(account), 0);
  return {
    endpoint: info.id,
    zone: info.zone,
    segment,
    stages: [...stages.values()],
    sentBytes: sum(({ sentBytes }) => sentBytes),
    receivedBytes: sum(({ receivedBytes }) => receivedBytes),
    energy: {
      millijoules: sum(({ energy }) => energy.millijoules),
      label: accounts.some(({ energy }) => energy.label === "estimated") ? "estimated" : "measured",
    },
    costMicros: sum(({ costMicros }) => costMicros),
    forwarded: accounts.flatMap(({ forwarded }) => forwarded),
  };
}

/** Turns a request for the part into one for the model: only its inputs, under its names. */
function modelRequest({ there, step, outputs }: RemoteStep, request: InferenceRequest): InferenceRequest {
  // Names differ there, and inputs that the model does not take stay here.
  const { wire: _wire, outputs: wanted, ...rest } = request;
  const inputs = new Map<string, Tensor | IncomingTensor>();
  const codecs: Record<string, string> = {};
  for (const [port, value] of Object.entries(step.inputs)) {
    const input = request.inputs.get(value);
    if (!input) throw new LongshoreError("invalid-input", "resolve", `${there.model} is given no ${value}`);
    inputs.set(port, renamedInput(input, port));
    const codec = Object.hasOwn(request.codecs, value) ? request.codecs[value] : undefined;
    if (codec !== undefined) codecs[port] = codec;
  }
  const names = outputs
    .filter(({ name }) => !wanted || wanted.includes(name))
    .map(({ name }) => portOf(name));
  return { ...rest, segment: there, inputs, codecs, outputs: names };
}

/** The model's name for a value. Step IDs contain no dots. */
const portOf = (value: string): string => value.slice(value.indexOf(".") + 1);

/** Turns the model's answer into that of the part. */
function stepResponse(
  { outputs }: RemoteStep,
  { segment }: InferenceRequest,
  response: InferenceResponse,
  id: string,
): InferenceResponse {
  const { wire: _wire, ...rest } = response;
  const values = new Map<string, Tensor>();
  for (const spec of outputs) {
    const tensor = response.outputs.get(portOf(spec.name));
    if (!tensor) continue;
    if (tensor.spec.datatype !== spec.datatype || !shapeFits(tensor.spec.shape, spec.shape)) {
      const { datatype, shape } = tensor.spec;
      const what = `${id} gave ${spec.name} as ${datatype} [${shape.join(", ")}]; the pipeline has ${spec.datatype} [${spec.shape.join(", ")}]`;
      throw new LongshoreError("bad-reply", "decode", what);
    }
    values.set(spec.name, renamed(tensor, spec.name));
  }
  return { ...rest, outputs: values, account: { ...response.account, segment } };
}

/** Selects the values that cross a pipeline's cut before the step at `at`: all values needed from there on. */
export function valuesFrom(
  { steps, outputs }: { readonly steps: readonly Step[]; readonly outputs: Readonly<Record<string, string>> },
  at: number,
  values: Tensors,
): Tensors {
  const needed = new Set(Object.values(outputs));
  for (const { inputs } of steps.slice(at)) for (const value of Object.values(inputs)) needed.add(value);
  return new Map([...values].filter(([name]) => needed.has(name)));
}
