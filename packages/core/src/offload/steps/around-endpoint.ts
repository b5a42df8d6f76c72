import { type Call, LongshoreError } from "../../words/base/index.ts";
import {
  type Account,
  answersOf,
  type Endpoint,
  type InferenceRequest,
  type InferenceResponse,
  type Offer,
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
import { joinedAccount, stepAnswers, type StepThere, valuesFrom } from "./step-there.ts";

/*
 * A pipeline whose requests belong together, or are answered several times, is not cut again with every request: what a model
 * of its own endpoint keeps, or is still saying, is nowhere else. Where one endpoint has all models that only others have, such a
 * pipeline is made to look as if that endpoint ran all of it. What runs here before, between and behind is called by this side,
 * so that the endpoint still gets no more than its models take; rules hold it to what the whole request is.
 */

/** A pipeline around the models of one endpoint. */
export interface WholeThere {
  readonly segment: Segment;
  readonly steps: readonly Step[];
  readonly outputs: Readonly<Record<string, string>>;
  /** The steps there, in order. */
  readonly there: readonly StepThere[];
}

/** One part after the other: here, or a step of other endpoints. */
export interface StageAround {
  readonly from: CutId;
  readonly to: CutId;
  /** Position of the first of its steps. */
  readonly at: number;
  readonly step?: Step;
}

/**
 * What runs here between two cuts, and the steps of other endpoints, in order. What ends at the end ends here: the cut after the last
 * step is not the end.
 */
export function stagesBetween(steps: readonly Step[], first: CutId, last: CutId): readonly StageAround[] {
  const stages: StageAround[] = [];
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

/** Steps that lie wholly before a cut. */
function positionOf(steps: readonly Step[], cut: CutId): number {
  if (cut === startCut || cut === endCut) return cut === startCut ? 0 : steps.length;
  const at = steps.findIndex(({ id }) => cut === id || cut.startsWith(`${id}.`));
  return steps[at]?.id === cut ? at + 1 : at;
}

/** All answers to a request for the whole of it. */
export async function* wholeAnswers(
  inner: Endpoint,
  local: Endpoint,
  whole: WholeThere,
  request: InferenceRequest,
  call: Call,
): AsyncIterable<InferenceResponse> {
  const stages = stagesBetween(whole.steps, startCut, endCut);
  const { sequence, outputs: wanted } = request;
  // What was done for several answers together is told with the first of them.
  let untold: Account[] = [];
  /** By step of other endpoints, how often it was asked for. */
  const asked = new Map<string, number>();

  /** A step behind one that gives several answers is asked for with each: no two of these requests may have one key. */
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
      // Only the endpoint keeps state: here nothing of such a pipeline does.
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

  const inputs = new Map<string, Tensor>();
  for (const [name, input] of request.inputs) {
    inputs.set(name, "read" in input ? await input.read(call) : input);
  }
  yield* from(0, inputs, {});
}

/** A part that runs here: what the request brings for the endpoint that it goes to, and what fails here, is none of the other's. */
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

/** The one answer to a request for the whole of it. */
export async function wholeAnswer(...asked: Parameters<typeof wholeAnswers>): Promise<InferenceResponse> {
  for await (const response of wholeAnswers(...asked)) return response;
  const [{ info }, , { segment }] = asked;
  throw new LongshoreError("bad-reply", "execute", `${info.id} gave no answer for ${segment.model}`);
}

/** Of an answer at the endpoint, what is told of the endpoint and of the state there. */
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

/** What is promised of the whole by what the endpoint promises of its steps, where it promises all of them: one offer. */
export function wholeOffers(
  whole: WholeThere,
  promises: readonly (readonly Offer[])[],
  profile: Profile | undefined,
): readonly Offer[] {
  const offer = joinedOffers(promises.map(([first]) => first));
  if (!offer) return [];
  const completionMs = shift(offer.completionMs, hereMs(whole, profile));
  // Each states its loss beside that of the variant.
  const losses = whole.there.map(({ agreementRatio }, index) => {
    return (promises[index]?.[0]?.agreementRatio ?? 0) / (agreementRatio || 1);
  });
  const [{ agreementRatio } = { agreementRatio: 1 }] = whole.there;
  const agrees = losses.reduce((all, one) => all * one, agreementRatio);
  // What is sent is not what the request brings, so no coding of that is.
  return [{ ...offer, segment: whole.segment, completionMs, agreementRatio: agrees, codecs: [] }];
}

/** What runs here around the steps, on the profile's machine. */
function hereMs({ segment, there }: WholeThere, profile: Profile | undefined): number {
  const ms = there.reduce(
    (left, one) => left - profiledMs(profile, one.segment),
    profiledMs(profile, segment),
  );
  return ms > 0 ? ms : 0;
}

/** What a profile says of a segment, for its smallest inputs; NaN where it says nothing. */
export function profiledMs(profile: Profile | undefined, { variant, from, to }: Segment): number {
  const [bucket] = profile?.variants.find((one) => one.variant === variant)?.buckets ?? [];
  const headMs = (id: CutId): number => {
    const runs = bucket?.cuts.find(({ cut }) => cut.id === id)?.headMs ?? [];
    return runs.length === 0 ? NaN : runs.reduce((total, one) => total + one, 0) / runs.length;
  };
  return headMs(to) - headMs(from);
}
