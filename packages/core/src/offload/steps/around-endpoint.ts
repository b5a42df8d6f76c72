import { type Call, LongshoreError } from "../../words/base/index.ts";
import {
  type Account,
  answersOf,
  type Endpoint,
  type InferenceRequest,
  type InferenceResponse,
  type Offer,
  readInputs,
} from "../../wire/endpoint/index.ts";
import { shift } from "../../words/estimate/index.ts";
import {
  type CutId,
  endCut,
  type Profile,
  type Segment,
  startCut,
  type Step,
} from "../../words/model/index.ts";
import type { Tensor } from "../../words/tensor/index.ts";
import { joinedOffers } from "./around-offers.ts";
import { joinedAccount, stepAnswers, type RemoteStep, valuesFrom } from "./remote-step.ts";

/*
 * A pipeline with sequences or several answers per request is not cut again with every request: a model's state, or its open answers, exist
 * only at its endpoint. If one endpoint has all models that run elsewhere only, the pipeline is presented as if that endpoint ran all of
 * it. This side runs the steps before, between and behind those models, so the endpoint still gets only the inputs of its models. The rules
 * treat it as if it got the whole request.
 */

/** A pipeline around the models of one endpoint. */
export interface RemotePipeline {
  readonly segment: Segment;
  readonly steps: readonly Step[];
  readonly outputs: Readonly<Record<string, string>>;
  /** The steps at the endpoint, in order. */
  readonly there: readonly RemoteStep[];
}

/** One stage: a part that runs here, or a step at another endpoint. */
export interface PipelineStage {
  readonly from: CutId;
  readonly to: CutId;
  /** Position of the first of its steps. */
  readonly at: number;
  readonly step?: Step;
}

/**
 * Stages between two cuts, in order: parts that run here and steps at other endpoints. A range that
 * reaches the end of the pipeline ends with a part here: the cut after the last step is not the end.
 */
export function stagesBetween(steps: readonly Step[], first: CutId, last: CutId): readonly PipelineStage[] {
  const stages: PipelineStage[] = [];
  let from = first;
  let at = positionOf(steps, first);
  const end = positionOf(steps, last);
  for (const [position, step] of steps.entries()) {
    if (position < at || position >= end || !("model" in step.run) || !step.run.elsewhere) continue;
    const before = steps[position - 1]?.id ?? startCut;
    if (before !== from) stages.push({ from, to: before, at });
    stages.push({ from: before, to: step.id, at: position, step });
    at = position + 1;
    from = step.id;
  }
  return from === last ? stages : [...stages, { from, to: last, at }];
}

/** Number of steps that lie wholly before a cut. */
function positionOf(steps: readonly Step[], cut: CutId): number {
  if (cut === startCut || cut === endCut) return cut === startCut ? 0 : steps.length;
  const at = steps.findIndex(({ id }) => cut === id || cut.startsWith(`${id}.`));
  return steps[at]?.id === cut ? at + 1 : at;
}

/** All answers to a request for the whole pipeline. */
export async function* wholeAnswers(
  inner: Endpoint,
  local: Endpoint,
  whole: RemotePipeline,
  request: InferenceRequest,
  call: Call,
): AsyncIterable<InferenceResponse> {
  const stages = stagesBetween(whole.steps, startCut, endCut);
  const { sequence, outputs: wanted } = request;
  // Work shared by several answers is reported with the first of them.
  let untold: Account[] = [];
  /** For each step at another endpoint, the number of its requests. */
  const asked = new Map<string, number>();

  /** A step behind a model with several answers runs once for each: each request needs its own key. */
  function keyFor(step: Step): Pick<Call, "idempotencyKey"> {
    const nth = asked.get(step.id) ?? 0;
    asked.set(step.id, nth + 1);
    const { idempotencyKey: key } = call;
    return key === undefined ? {} : { idempotencyKey: `${key}.${step.id}.${nth}` };
  }

  async function* from(
    position: number,
    values: ReadonlyMap<string, Tensor>,
    last: Pick<InferenceResponse, "load" | "state" | "stateSeal">,
  ): AsyncIterable<InferenceResponse> {
    const stage = stages[position];
    if (!stage) return;
    const { step, at, to } = stage;
    const there = step && whole.there.find((one) => one.step.id === step.id);
    const end = position === stages.length - 1;
    const part: InferenceRequest = {
      segment: there?.segment ?? { ...whole.segment, from: stage.from, to },
      inputs: valuesFrom(whole, at, values),
      codecs: {},
      ...(request.parameters ? { parameters: request.parameters } : {}),
      ...(end && wanted ? { outputs: wanted } : {}),
      // Only the endpoint keeps state; the parts here have none.
      ...(there && sequence ? { sequence } : {}),
    };
    const answers = there
      ? stepAnswers(inner, there, part, { ...call, ...keyFor(there.step) })
      : answersHere(local, part, call);
    for await (const { outputs, account, ...told } of answers) {
      untold.push(account);
      if (!end) {
        yield* from(
          position + 1,
          new Map([...values, ...outputs]),
          there ? { ...last, ...kept(told) } : last,
        );
        continue;
      }
      yield { ...last, outputs, account: joinedAccount(inner, request.segment, untold) };
      untold = [];
    }
  }

  yield* from(0, await readInputs(request.inputs, call), {});
}

/**
 * Runs a part here. The queue limit and the key of the call belong to the other endpoint, so they are dropped. Errors name the local
 * endpoint.
 */
async function* answersHere(
  local: Endpoint,
  part: InferenceRequest,
  { mostWaitMs: _wait, idempotencyKey: _key, ...call }: Call,
): AsyncIterable<InferenceResponse> {
  try {
    yield* answersOf(local, part, call);
  } catch (thrown) {
    if (call.abort.aborted) throw thrown;
    const cause = LongshoreError.from(thrown, "execute", "running a part of the pipeline here");
    const { reason, stage, message, retryAfterMs } = cause;
    const after = retryAfterMs === undefined ? {} : { retryAfterMs };
    throw new LongshoreError(reason, stage, message, { cause, ...after, endpoint: local.info.id });
  }
}

/** The one answer to a request for the whole pipeline. */
export async function wholeAnswer(...asked: Parameters<typeof wholeAnswers>): Promise<InferenceResponse> {
  for await (const response of wholeAnswers(...asked)) return response;
  const [{ info }, , { segment }] = asked;
  throw new LongshoreError("bad-reply", "execute", `${info.id} gave no answer for ${segment.model}`);
}

/** The fields of the endpoint's answer about the endpoint and its state. */
function kept({
  load,
  state,
  stateSeal,
}: Partial<InferenceResponse>): Pick<InferenceResponse, "load" | "state" | "stateSeal"> {
  return {
    ...(load ? { load } : {}),
    ...(state ? { state } : {}),
    ...(stateSeal === undefined ? {} : { stateSeal }),
  };
}

/** One offer for the whole, derived from the endpoint's offers for its steps. Empty unless it offers all of them. */
export function wholeOffers(
  whole: RemotePipeline,
  promises: readonly (readonly Offer[])[],
  profile: Profile | undefined,
): readonly Offer[] {
  const offer = joinedOffers(promises.map(([first]) => first));
  if (!offer) return [];
  const completionMs = shift(offer.completionMs, hereMs(whole, profile));
  // Each part states its own loss, in addition to that of the variant.
  const losses = whole.there.map(({ agreementRatio }, index) => {
    return (promises[index]?.[0]?.agreementRatio ?? 0) / (agreementRatio || 1);
  });
  const [{ agreementRatio } = { agreementRatio: 1 }] = whole.there;
  const agrees = losses.reduce((all, one) => all * one, agreementRatio);
  // The steps receive other tensors than the request brings, so codecs of the request do not apply.
  return [{ ...offer, segment: whole.segment, completionMs, agreementRatio: agrees, codecs: [] }];
}

/** Run time here around the steps, on the profile's machine. */
function hereMs({ segment, there }: RemotePipeline, profile: Profile | undefined): number {
  const ms = there.reduce(
    (left, one) => left - profiledMs(profile, one.segment),
    profiledMs(profile, segment),
  );
  return ms > 0 ? ms : 0;
}

/** Profiled time of a segment for its smallest inputs; NaN if the profile has none. */
export function profiledMs(profile: Profile | undefined, { variant, from, to }: Segment): number {
  const [bucket] = profile?.variants.find((one) => one.variant === variant)?.buckets ?? [];
  const headMs = (id: CutId): number => {
    const runs = bucket?.cuts.find(({ cut }) => cut.id === id)?.headMs ?? [];
    return runs.length === 0 ? NaN : runs.reduce((total, one) => total + one, 0) / runs.length;
  };
  return headMs(to) - headMs(from);
}
