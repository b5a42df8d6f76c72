import {
  type Call,
  type Clock,
  failureEvent,
  LongshoreError,
  type Observer,
} from "../../words/base/index.ts";
import {
  answersOf,
  type Endpoint,
  type EndpointChanges,
  type EndpointInfo,
  inferredOffer,
  type InferenceRequest,
  type InferenceResponse,
  type ModelKnowledge,
  type Offer,
  wrapEndpoint,
} from "../../wire/endpoint/index.ts";
import { isForeignDigest } from "../../wire/oip/index.ts";
import { isGuess } from "../../decide/table/index.ts";
import { certain } from "../../words/estimate/index.ts";
import {
  endCut,
  type ModelDescription,
  type ModelPorts,
  type Profile,
  type Segment,
  segmentKey,
  startCut,
  type StepModel,
  stepModels,
} from "../../words/model/index.ts";
import type { TensorSpec } from "../../words/tensor/index.ts";
import {
  profiledMs,
  wholeAnswer,
  wholeAnswers,
  wholeOffers,
  type RemotePipeline,
} from "./around-endpoint.ts";
import { runStep, stepAnswers, type RemoteStep } from "./remote-step.ts";

/*
 * A foreign server has whole models. An app has a pipeline: its own transforms, a model that only that server has, and more transforms. The
 * model is one step, so it is the part of the pipeline between the cut before the step and the one after it. This module wraps an endpoint
 * with the model so that it appears to have that part. The wrapper describes the pipeline and offers the part. A request for the part
 * becomes a request for the model, with tensors renamed to the model's names. Plans, rules, legs and second runs need no special case.
 */

/** A pipeline here, and its steps at an endpoint. */
interface PipelineThere extends Pick<Segment, "model" | "version" | "digest"> {
  readonly there: readonly RemoteStep[];
  /** For each variant, the whole pipeline, if its requests are not cut and this endpoint has all models that are not here. */
  readonly whole: readonly RemotePipeline[];
  readonly profile?: Profile;
}

/** A part of a pipeline here that an endpoint can run. */
type Part = { readonly step: RemoteStep } | { readonly whole: RemotePipeline; readonly step?: undefined };

/** Assumed run time of a model without offer and profile, in milliseconds. */
const guessedMs = 50;
/** Number of pipelines remembered for an endpoint. The oldest is dropped. */
const mostPipelines = 256;
/** Number of remembered pipeline contents that are not the endpoint's own. It exceeds the replacements during one plan. */
const mostStoodIn = 4096;

/** The other endpoints, and the endpoint that has the pipelines here. */
interface StepModelParts {
  readonly local?: Endpoint;
  readonly endpoints?: readonly Endpoint[];
  readonly dial?: (info: EndpointInfo) => Endpoint;
  readonly clock: Clock;
  /** Gets a note for each model that does not fit. */
  readonly observer: Observer;
}

/** The same parts. Each of the other endpoints also offers the steps that it runs (see `withSteps`). */
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
 * The same endpoint, which also runs steps of the pipelines here whose models it has under their own names. Models outside the pipeline
 * count if their inputs and outputs match the pipeline's. Others count if the operator listed them for an endpoint that reports no digest.
 */
function withSteps(inner: Endpoint, local: Endpoint, { clock, observer }: StepModelParts): Endpoint {
  /** Keyed by segment, with the digest of the pipeline. */
  const steps = new Map<string, RemoteStep>();
  const wholes = new Map<string, RemotePipeline>();
  const pipelines = new Map<string, PipelineThere>();
  /** Contents of pipelines here that this endpoint only appears to have. */
  const stoodIn = new Set<string>();
  const { info } = inner;
  /** Keyed by pipeline, step and model: why that model does not fit. */
  const said = new Map<string, string>();

  function forget(key: string): void {
    const { there = [], whole = [] } = pipelines.get(key) ?? {};
    for (const { segment } of there) steps.delete(stepKey(segment));
    for (const { segment } of whole) wholes.delete(stepKey(segment));
    pipelines.delete(key);
  }

  /** A pipeline that once had steps at this endpoint stays remembered: it may have some again. */
  function remember(one: PipelineThere): void {
    const key = pipelineKey(one.model, one.version);
    const keeps = one.there.length > 0 || pipelines.has(key);
    forget(key);
    if (keeps) pipelines.set(key, one);
    if (one.there.length > 0) {
      const content = contentKey(one);
      stoodIn.delete(content);
      stoodIn.add(content);
      const [first] = stoodIn;
      if (stoodIn.size > mostStoodIn && first !== undefined) stoodIn.delete(first);
    }
    for (const step of one.there) steps.set(stepKey(step.segment), step);
    for (const whole of one.whole) wholes.set(stepKey(whole.segment), whole);
    const [oldest] = pipelines.keys();
    if (pipelines.size > mostPipelines && oldest !== undefined) forget(oldest);
  }

  /** The model of a step at this endpoint; undefined if it has no candidate. */
  async function stepThere(
    pipeline: ModelDescription,
    variant: ModelDescription["variants"][number],
    one: StepModel,
    call: Call,
  ): Promise<RemoteStep | undefined> {
    const { step, run, from, to } = one;
    const part = listed(info, { model: pipeline.name, from, to });
    if (!run.elsewhere && !part && !listed(info, { model: run.model })) return undefined;
    const ports = run.elsewhere ?? (await local.describe(run.model, run.version, call))?.description;
    const theirs = part
      ? await inner.describe(pipeline.name, undefined, call)
      : await inner.describe(run.model, run.elsewhere ? run.version : undefined, call);
    if (!ports || !theirs) return undefined;
    const { description } = theirs;
    // Only an endpoint without digests can stand in for a model that is here. Another one has the same content or different content.
    if (!run.elsewhere && !isForeignDigest(description.digest)) return undefined;
    const why = portsUnlike(ports, description);
    if (why !== undefined) {
      const message = `${info.id} has ${run.model}, but not as step ${step.id} of ${pipeline.name} wants it: ${why}`;
      // Endpoints are polled every few seconds, so this is reported once.
      const about = `${pipeline.name} ${step.id} ${run.model}`;
      if (said.get(about) !== message) {
        const error = { stage: "resolve", reason: "unsupported", message } as const;
        observer.record(failureEvent(error, { id: `ask-${info.id}`, model: pipeline.name }, clock.nowMs()));
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
      step,
      several: description.decoupled === true,
      outputs: ports.outputs.map((spec) => ({ ...spec, name: `${step.id}.${spec.name}` })),
    };
  }

  /** The pipeline here that has steps at this endpoint. Remembers the steps. */
  async function pipelineFor(
    model: string,
    version: string | undefined,
    call: Call,
  ): Promise<ModelKnowledge | undefined> {
    const knowledge = await local.describe(model, version, call).catch(() => undefined);
    if (!knowledge) return undefined;
    const { description, profile } = knowledge;
    const { name, version: of, digest } = description;
    const there: RemoteStep[] = [];
    const whole: RemotePipeline[] = [];
    for (const variant of description.variants) {
      const { body } = variant;
      const others: RemoteStep[] = [];
      let all = body.kind === "pipeline" && staysWhole(description);
      for (const model of stepModels(body)) {
        const one = await stepThere(description, variant, model, call);
        if (one) there.push(one);
        if (!model.run.elsewhere) continue;
        if (one) others.push(one);
        else all = false;
      }
      if (!all || others.length === 0 || body.kind === "graph") continue;
      const segment = { model: name, version: of, digest, variant: variant.name, from: startCut, to: endCut };
      whole.push({ segment, steps: body.steps, outputs: body.outputs, there: others });
    }
    remember({ model: name, version: of, digest, there, whole, ...(profile ? { profile } : {}) });
    return there.length > 0 ? { description } : undefined;
  }

  /** The known steps of a pipeline at this endpoint. */
  function stepsOf(model: string, version: string | undefined): PipelineThere | undefined {
    return [...pipelines.values()].findLast((one) => {
      return one.model === model && (version === undefined || one.version === version);
    });
  }

  /** The same for the pipeline as it is here now: other content may have replaced the described one. */
  async function stepsNow(
    model: string,
    version: string | undefined,
    call: Call,
  ): Promise<PipelineThere | undefined> {
    const named = stepsOf(model, version);
    const here = named && (await local.describe(model, version, call).catch(() => undefined))?.description;
    if (!here || (named.digest === here.digest && named.there.length > 0)) return named;
    await pipelineFor(model, version, call);
    return stepsOf(model, here.version) ?? { ...named, there: [], whole: [] };
  }

  /** The requested part, as this endpoint has it; undefined if it has no such part. */
  function partOf(segment: Segment): Part | undefined {
    if (steps.size === 0) return undefined;
    const key = stepKey(segment);
    const step = steps.get(key);
    if (step) return { step };
    const whole = wholes.get(key);
    return whole && { whole };
  }

  /**
   * The same for a part whose pipeline was replaced or forgotten here after planning: looks the pipeline up once more. Without this, the
   * endpoint would receive all inputs of the app instead of the inputs of its models.
   */
  async function partAgain(segment: Segment, call: Call): Promise<Part | undefined> {
    if (!stoodIn.has(contentKey(segment))) return undefined;
    const { model, version } = segment;
    await pipelineFor(model, version, call);
    const part = partOf(segment);
    if (part) return part;
    const what = `${info.id} has no part of ${model}, version ${version}, as it was when this was planned`;
    throw new LongshoreError("unknown-version", "resolve", what);
  }

  function inferPart(
    part: Part | undefined,
    ...asked: Parameters<Endpoint["infer"]>
  ): Promise<InferenceResponse> {
    if (!part) return inner.infer(...asked);
    const [request, call] = asked;
    return part.step
      ? runStep(inner, part.step, ...asked)
      : wholeAnswer(inner, local, part.whole, request, call);
  }

  async function* answersOfPart(request: InferenceRequest, call: Call): AsyncIterable<InferenceResponse> {
    const { segment } = request;
    const part = partOf(segment) ?? (await partAgain(segment, call));
    if (!part) yield* answersOf(inner, request, call);
    else if (part.step) yield* stepAnswers(inner, part.step, request, call);
    else yield* wholeAnswers(inner, local, part.whole, request, call);
  }

  /** The endpoint's offer for the model, turned into an offer for the step. */
  async function offerOf(
    step: RemoteStep,
    profile: Profile | undefined,
    call: Call,
  ): Promise<readonly Offer[]> {
    const { segment, there, agreementRatio } = step;
    const told = await inner.offers({ model: there.model, version: there.version }, call);
    const own = told.filter((one) => {
      const { digest, from, to } = one.segment;
      return !isGuess(one) && digest === there.digest && from === startCut && to === endCut;
    });
    const guess = (): Offer => {
      const profiled = profiledMs(profile, segment);
      const runMs = certain(profiled > 0 ? profiled : guessedMs, {
        observedAtMs: -Infinity,
        origin: "prior",
      });
      return inferredOffer(info, segment, runMs, clock.nowMs());
    };
    const promises = own.length > 0 ? own : [guess()];
    return promises.map((offer) => ({
      ...offer,
      segment,
      agreementRatio: agreementRatio * offer.agreementRatio,
      upTo: { bytes: Infinity },
    }));
  }

  /** The segments that run for a segment at this endpoint. */
  function segmentsThere(segment: Segment): readonly Segment[] {
    const key = stepKey(segment);
    return wholes.get(key)?.there.map(({ there }) => there) ?? [steps.get(key)?.there ?? segment];
  }

  const { ready, prepare, lacks, loaded, loadMs, inferStream } = inner.capabilities;
  const capabilities: EndpointChanges["capabilities"] = {
    // `describe` looks for steps here, which takes time.
    known: undefined,
    ready:
      ready &&
      (async (model, version, call) => {
        const isReady = async (name: string, at: string | undefined): Promise<boolean> =>
          (await ready(name, at, call)) === true;
        const named = stepsOf(model, version)?.there;
        if (!named) return isReady(model, version);
        const said = await Promise.all(named.map(({ there }) => isReady(there.model, there.version)));
        return said.length > 0 && said.every(Boolean);
      }),
    prepare:
      prepare &&
      (async (segment, call) => {
        for (const part of segmentsThere(segment)) await prepare(part, call);
      }),
    lacks: lacks && ((segment) => segmentsThere(segment).reduce((bytes, part) => bytes + lacks(part), 0)),
    loaded: loaded && ((segment) => segmentsThere(segment).every((part) => loaded(part))),
    loadMs: loadMs && ((segment) => segmentsThere(segment).reduce((ms, part) => ms + loadMs(part), 0)),
    inferStream: inferStream && answersOfPart,
  };
  return wrapEndpoint(inner, {
    capabilities,
    async describe(model, version, call) {
      // For a part that the operator listed, the server describes the part.
      const part = info.serves?.some(({ segment, as }) => {
        return as !== undefined && segment.model === model && segment.from !== undefined;
      });
      const first = part ? await pipelineFor(model, version, call) : undefined;
      if (first) return first;
      const theirs = await inner.describe(model, version, call);
      // The endpoint may have had only steps of it before.
      if (theirs) {
        const { name, version: own, digest } = theirs.description;
        forget(pipelineKey(name, own));
        stoodIn.delete(contentKey({ model: name, version: own, digest }));
      }
      return theirs || part ? theirs : pipelineFor(model, version, call);
    },
    async offers(query, call) {
      const named = await stepsNow(query.model, query.version, call);
      if (!named) return inner.offers(query, call);
      const { there, whole, profile } = named;
      const offers = await Promise.all(there.map((step) => offerOf(step, profile, call)));
      if (whole.length === 0) return offers.flat();
      return whole.flatMap((one) => {
        const promises = one.there.map((step) => offers[there.indexOf(step)] ?? []);
        return wholeOffers(one, promises, profile);
      });
    },
    infer(request, call, progress) {
      const { segment } = request;
      const part = partOf(segment);
      const sent = part !== undefined || stoodIn.size === 0 || !stoodIn.has(contentKey(segment));
      if (sent) return inferPart(part, request, call, progress);
      return partAgain(segment, call).then((again) => inferPart(again, request, call, progress));
    },
  });
}

/** Whether its requests stay at one endpoint: they form sequences, or have several answers each. */
function staysWhole({ sequence, decoupled }: ModelDescription): boolean {
  return sequence !== undefined || decoupled === true;
}

const pipelineKey = (model: string, version: string): string => `${model}/${version}`;
const contentKey = ({ model, version, digest }: Pick<Segment, "model" | "version" | "digest">): string =>
  `${digest} ${pipelineKey(model, version)}`;
const stepKey = (segment: Segment): string => `${segment.digest} ${segmentKey(segment)}`;

/** Whether the operator listed a model, or a part of one as a model of its own. */
function listed({ serves }: EndpointInfo, wanted: Pick<Segment, "model"> & Partial<Segment>): boolean {
  const { model, from, to } = wanted;
  return (serves ?? []).some(({ segment, as }) => {
    if (segment.model !== model) return false;
    return from === undefined || (as !== undefined && segment.from === from && segment.to === to);
  });
}

/** Describes how a model's inputs or outputs differ from the required ones; undefined if they match. */
export function portsUnlike(
  wanted: ModelPorts,
  { inputs, outputs, decoupled }: ModelDescription,
): string | undefined {
  if (decoupled === true && wanted.decoupled !== true) return "it gives several answers to a request";
  // If a server does not describe its inputs, the listed ones are believed.
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
