import { type Call, type Clock, type EndpointId, LongshoreError, type Observer } from "../base/index.ts";
import {
  type Endpoint,
  type EndpointInfo,
  type IncomingTensor,
  type InferenceRequest,
  type InferenceResponse,
  isForeignDigest,
  type ModelKnowledge,
  type Offer,
  through,
} from "../endpoint/index.ts";
import { certain } from "../estimate/index.ts";
import {
  endCut,
  type ModelDescription,
  type ModelPorts,
  type Segment,
  segmentKey,
  startCut,
  type StepModel,
  stepModels,
} from "../model/index.ts";
import { renamed, shapeFits, type Tensor, type TensorSpec } from "../tensor/index.ts";

/*
 * A server of others has whole models, and an app has a pipeline: our transforms, a model that only that server has, our
 * transforms. The model is one step, so it is the part of the pipeline between the cut before the step and the one after it.
 * A place that has the model is therefore made to look like one that has that part: it describes the pipeline, offers the
 * part, and is asked for the model when it is asked for the part, tensors called as the model calls them. Plans, rules, legs
 * and back-ups then know nothing of it.
 */

/** A step's model at a place. */
interface StepThere {
  readonly segment: Segment;
  readonly agreementRatio: number;
  /** What is asked for there: the model, whole, or the part, where the operator listed that as a model of its own. */
  readonly there: Segment;
  /** Value to the model's input that takes it; one value may go to several. */
  readonly takes: readonly { readonly port: string; readonly value: string }[];
  /** What the model gives. */
  readonly outputs: readonly TensorSpec[];
}

/** A pipeline here, and its steps at a place. */
interface PipelineThere extends Pick<Segment, "model" | "version" | "digest"> {
  readonly there: readonly StepThere[];
}

/** What a run of a model is taken to last that its place tells nothing of, in milliseconds. */
const guessedMs = 50;
/** For how long that is offered, in milliseconds. */
const holdsMs = 5000;
/** Pipelines that are remembered of a place; the oldest goes. */
const mostPipelines = 256;

/** Other places, and who has the pipelines here. */
interface StepModelParts {
  readonly local?: Endpoint;
  readonly endpoints?: readonly Endpoint[];
  readonly dial?: (info: EndpointInfo) => Endpoint;
  readonly clock: Clock;
  /** Is told what does not fit. */
  readonly observer: Observer;
}

/** The same parts, each of the other places with the steps that it runs (see `withSteps`). */
export function withStepModels<Parts extends StepModelParts>(parts: Parts): Parts {
  const { local, endpoints, dial } = parts;
  if (!local) return parts;
  const wrapped = (one: Endpoint): Endpoint => withSteps(one, local, parts);
  return {
    ...parts,
    ...(endpoints ? { endpoints: endpoints.map(wrapped) } : {}),
    ...(dial ? { dial: (info: EndpointInfo) => wrapped(dial(info)) } : {}),
  };
}

/**
 * A place as before, which besides runs steps of the pipelines here whose models it has under their own names: those that are no
 * part of the pipeline, as long as they take and give what the pipeline says, and others where the operator listed them for a
 * place that tells no digest of what it has.
 */
function withSteps(inner: Endpoint, local: Endpoint, { clock, observer }: StepModelParts): Endpoint {
  /** By segment, with the digest of the pipeline. */
  const steps = new Map<string, StepThere>();
  const pipelines = new Map<string, PipelineThere>();
  const { info } = inner;
  /** By pipeline, step and model, why that model is none for it. */
  const said = new Map<string, string>();

  function forget(key: string): void {
    for (const { segment } of pipelines.get(key)?.there ?? []) steps.delete(stepKey(segment));
    pipelines.delete(key);
  }

  /** One that had steps for this place is remembered where it has none any more, too: it may have some again. */
  function remember({ name: model, version, digest }: ModelDescription, there: readonly StepThere[]): void {
    const key = pipelineKey(model, version);
    const keeps = there.length > 0 || pipelines.has(key);
    forget(key);
    if (keeps) pipelines.set(key, { model, version, digest, there });
    for (const one of there) steps.set(stepKey(one.segment), one);
    const [oldest] = pipelines.keys();
    if (pipelines.size > mostPipelines && oldest !== undefined) forget(oldest);
  }

  /** The model of a step as this place has it; undefined where it has none that could be meant. */
  async function stepThere(
    pipeline: ModelDescription,
    variant: ModelDescription["variants"][number],
    one: StepModel,
    call: Call,
  ): Promise<StepThere | undefined> {
    const { step, run, from, to } = one;
    const part = listed(info, { model: pipeline.name, from, to });
    if (!run.elsewhere && !part && !listed(info, { model: run.model })) return undefined;
    const ports = run.elsewhere ?? (await local.describe(run.model, run.version, call))?.description;
    const theirs = part
      ? await inner.describe(pipeline.name, undefined, call)
      : await inner.describe(run.model, run.elsewhere ? run.version : undefined, call);
    if (!ports || !theirs) return undefined;
    const { description } = theirs;
    // What is here is stood in for only by who tells no digest: another has the same, or another one.
    if (!run.elsewhere && !isForeignDigest(description.digest)) return undefined;
    const why = unlike(ports, description);
    if (why !== undefined) {
      const message = `${info.id} has ${run.model}, but not as step ${step.id} of ${pipeline.name} wants it: ${why}`;
      // Places are asked every few seconds, and this is said once.
      const about = `${pipeline.name} ${step.id} ${run.model}`;
      if (said.get(about) !== message) {
        const when = { atMs: clock.nowMs(), callId: `ask-${info.id}`, stage: "resolve" } as const;
        observer.record({ kind: "failure", ...when, reason: "unsupported", message });
      }
      said.set(about, message);
      return undefined;
    }
    const { name, version, digest } = pipeline;
    const there = { version: description.version, digest: description.digest };
    const whole = {
      model: run.model,
      variant: description.variants[0]?.name ?? "",
      from: startCut,
      to: endCut,
    };
    const segment = { model: name, version, digest, variant: variant.name, from, to };
    return {
      segment,
      agreementRatio: variant.agreementRatio,
      there: part ? { ...segment, ...there } : { ...whole, ...there },
      takes: Object.entries(step.inputs).map(([port, value]) => ({ port, value })),
      outputs: ports.outputs.map((spec) => ({ ...spec, name: `${step.id}.${spec.name}` })),
    };
  }

  /** The pipeline here that has steps for this place, with what it knows of them from now on. */
  async function pipelineFor(
    model: string,
    version: string | undefined,
    call: Call,
  ): Promise<ModelKnowledge | undefined> {
    const knowledge = await local.describe(model, version, call).catch(() => undefined);
    if (!knowledge) return undefined;
    const { description } = knowledge;
    const there: StepThere[] = [];
    for (const variant of description.variants) {
      for (const one of stepModels(variant.body)) {
        const found = await stepThere(description, variant, one, call);
        if (found) there.push(found);
      }
    }
    remember(description, there);
    return there.length > 0 ? { description } : undefined;
  }

  /** What this place runs of a pipeline, as far as that is known. */
  function stepsOf(model: string, version: string | undefined): PipelineThere | undefined {
    return [...pipelines.values()].findLast((one) => {
      return one.model === model && (version === undefined || one.version === version);
    });
  }

  /** The same of the pipeline as it is here now: another content may have taken the place of what was described. */
  async function stepsNow(
    model: string,
    version: string | undefined,
    call: Call,
  ): Promise<readonly StepThere[] | undefined> {
    const named = stepsOf(model, version);
    const here = named && (await local.describe(model, version, call).catch(() => undefined))?.description;
    if (!here || (named.digest === here.digest && named.there.length > 0)) return named?.there;
    await pipelineFor(model, version, call);
    return stepsOf(model, here.version)?.there ?? [];
  }

  /** What the place promises for the model, for the step. */
  async function offerOf(step: StepThere, call: Call): Promise<readonly Offer[]> {
    const { segment, there, agreementRatio } = step;
    const told = await inner.offers({ model: there.model, version: there.version }, call);
    const own = told.filter(({ segment: { digest, from, to } }) => {
      return digest === there.digest && from === startCut && to === endCut;
    });
    const promises = own.length > 0 ? own : [guessed(info, segment, clock.nowMs())];
    return promises.map((offer) => ({
      ...offer,
      segment,
      agreementRatio: agreementRatio * offer.agreementRatio,
      upTo: { bytes: Infinity },
    }));
  }

  return {
    ...through(inner),
    get loadEveryMs() {
      return inner.loadEveryMs;
    },
    async describe(model, version, call) {
      // Of a part that the operator listed, the server describes the part.
      const part = info.serves?.some(({ segment, as }) => {
        return as !== undefined && segment.model === model && segment.from !== undefined;
      });
      const first = part ? await pipelineFor(model, version, call) : undefined;
      if (first) return first;
      const theirs = await inner.describe(model, version, call);
      // It may have had no more than steps of it before.
      if (theirs) forget(pipelineKey(theirs.description.name, theirs.description.version));
      return theirs || part ? theirs : pipelineFor(model, version, call);
    },
    async offers(query, call) {
      const named = await stepsNow(query.model, query.version, call);
      if (!named) return inner.offers(query, call);
      return (await Promise.all(named.map((step) => offerOf(step, call)))).flat();
    },
    ...(inner.ready
      ? {
          async ready(model: string, version: string | undefined, call: Call) {
            const isReady = async (name: string, at: string | undefined): Promise<boolean> =>
              (await inner.ready?.(name, at, call)) === true;
            const named = stepsOf(model, version)?.there;
            if (!named) return isReady(model, version);
            const said = await Promise.all(named.map(({ there }) => isReady(there.model, there.version)));
            return said.length > 0 && said.every(Boolean);
          },
        }
      : {}),
    ...(inner.prepare
      ? {
          prepare: async (segment: Segment, call: Call) =>
            inner.prepare?.(steps.get(stepKey(segment))?.there ?? segment, call),
        }
      : {}),
    infer(request, call, progress) {
      const step = steps.size === 0 ? undefined : steps.get(stepKey(request.segment));
      if (!step) return inner.infer(request, call, progress);
      return inner
        .infer(modelRequest(step, request), call, progress)
        .then((response) => stepResponse(step, request, response, info.id));
    },
  };
}

const pipelineKey = (model: string, version: string): string => `${model}/${version}`;
const stepKey = (segment: Segment): string => `${segment.digest} ${segmentKey(segment)}`;

/** Whether the operator listed a model, or a part of one as a model of its own. */
function listed({ serves }: EndpointInfo, wanted: Pick<Segment, "model"> & Partial<Segment>): boolean {
  const { model, from, to } = wanted;
  return (serves ?? []).some(({ segment, as }) => {
    if (segment.model !== model) return false;
    return from === undefined || (as !== undefined && segment.from === from && segment.to === to);
  });
}

/** What a model is like that does not take and give what is wanted; undefined where it does. */
function unlike(wanted: ModelPorts, { inputs, outputs }: ModelDescription): string | undefined {
  // A server that need not say what its models take is believed to have what was written down.
  const takes = inputs.length === 0 || (inputs.length === wanted.inputs.length && has(inputs, wanted.inputs));
  if (takes && (outputs.length === 0 || has(outputs, wanted.outputs))) return undefined;
  const words = (specs: readonly TensorSpec[]): string =>
    specs.map(({ name, datatype, shape }) => `${name} ${datatype} [${shape.join(", ")}]`).join(", ");
  return `it takes ${words(inputs)} and gives ${words(outputs)}`;
}

function has(specs: readonly TensorSpec[], wanted: readonly TensorSpec[]): boolean {
  const agree = (one: readonly number[], other: readonly number[]): boolean =>
    one.length === other.length &&
    one.every((size, axis) => size < 0 || (other[axis] ?? 0) < 0 || size === other[axis]);
  return wanted.every(({ name, datatype, shape }) => {
    const own = specs.find((spec) => spec.name === name);
    return own?.datatype === datatype && agree(own.shape, shape);
  });
}

function guessed(info: EndpointInfo, segment: Segment, nowMs: number): Offer {
  return {
    segment,
    path: [info.id],
    zones: [info.zone],
    trust: info.trust,
    completionMs: certain(guessedMs, { observedAtMs: -Infinity, origin: "prior" }),
    queueMs: 0,
    energyMillijoules: info.rates.activeWatts * guessedMs,
    costMicros: (info.rates.microsPerSecond / 1000) * guessedMs,
    agreementRatio: 1,
    upTo: { bytes: Infinity },
    codecs: info.codecs,
    expiresAtMs: nowMs + holdsMs,
    origin: "inferred",
  };
}

/** The request for the part as one for the model: its inputs alone, under its names. */
function modelRequest({ there, takes, outputs }: StepThere, request: InferenceRequest): InferenceRequest {
  // Names differ there, and what is not for the model does not leave.
  const { wire: _wire, outputs: wanted, ...rest } = request;
  const inputs = new Map<string, Tensor | IncomingTensor>();
  const codecs: Record<string, string> = {};
  for (const { port, value } of takes) {
    const input = request.inputs.get(value);
    if (!input) throw new LongshoreError("invalid-input", "resolve", `${there.model} is given no ${value}`);
    inputs.set(
      port,
      "read" in input
        ? {
            spec: { ...input.spec, name: port },
            byteLength: input.byteLength,
            read: (call) => input.read(call).then((tensor) => renamed(tensor, port)),
          }
        : renamed(input, port),
    );
    const codec = Object.hasOwn(request.codecs, value) ? request.codecs[value] : undefined;
    if (codec !== undefined) codecs[port] = codec;
  }
  const names = outputs
    .filter(({ name }) => !wanted || wanted.includes(name))
    .map(({ name }) => portOf(name));
  return { ...rest, segment: there, inputs, codecs, outputs: names };
}

/** What a value is called by the model that gives it: step ids have no dots. */
const portOf = (value: string): string => value.slice(value.indexOf(".") + 1);

/** The model's answer as that of the part. */
function stepResponse(
  { outputs }: StepThere,
  { segment }: InferenceRequest,
  response: InferenceResponse,
  id: EndpointId,
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
