import {
  type Call,
  float32View,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type LoadReport,
  type Observer,
  type Segment,
  type SequencePosition,
  type StageTime,
  type Tensors,
} from "@longshore/core";
import { totalBytes, runMicros } from "@longshore/core/internal";
import type { LoadedVersion } from "../repository/index.ts";
import { leastBatch, type Scheduler } from "../schedule/index.ts";
import type { TransformSet } from "../transform/index.ts";
import type { LinePosition, SealKey, SequenceStore } from "../sequence/index.ts";
import { runInputs } from "./check-inputs.ts";
import { type Granted, type GrantParts, grantRequest, type Leases } from "./grant-request.ts";
import type { KeptAnswers } from "./engine-parts.ts";
import type { Lane } from "../lane/index.ts";
import type { ModelLife } from "./model-life.ts";
import {
  type AskKept,
  type ElementBudget,
  type PipelineAdmission,
  runSegment,
  type SegmentPlan,
  type SegmentResult,
  type SegmentRun,
} from "../run/index.ts";
import { reachTurn, runInSequence, type SequenceResult } from "./sequence-turn.ts";
import { programOf } from "./variants.ts";
import type { Speeds } from "./speed.ts";

/** The parts of an engine that a request passes through. */
export interface ServeParts extends GrantParts {
  readonly life: ModelLife;
  readonly sequences: SequenceStore;
  readonly stateKey?: SealKey | undefined;
  readonly answers?: KeptAnswers | undefined;
  readonly speeds: Speeds;
  readonly lane: Lane;
  readonly transforms: TransformSet;
  readonly pipelines: PipelineAdmission;
  readonly elements: ElementBudget;
  readonly observer: Observer;
  readonly millijoulesPerMs?: (() => number | undefined) | undefined;
  /** Requests under way in the whole engine. */
  readonly inFlight: () => number;
}

/**
 * Resolves, admits and runs one request whose call ends at its deadline. `place` is its position among the requests of its
 * sequence.
 */
export async function serveRequest(
  parts: ServeParts,
  request: InferenceRequest,
  call: Call,
  place?: LinePosition,
): Promise<InferenceResponse> {
  const { segment, sequence } = request;
  const leased = parts.life.acquire(segment.model, segment.version, call);
  const version = leased instanceof Promise ? await leased : leased;
  const { loaded, owner } = version;
  let turn: Disposable | undefined;
  let granted: Granted | undefined;
  try {
    checkDigest(segment, loaded);
    const reached = sequence && turnOf(parts, loaded, request, call, place);
    if (reached) turn = await reached;
    const askedMs = parts.clock.nowMs();
    const grants = grantRequest(parts, loaded, owner, request, call);
    if (!(grants instanceof Promise)) {
      granted = grants;
      return await runGranted(parts, request, { loaded, granted, place }, call);
    }
    granted = await grants;
    // A grant that has to be waited for waits for what it needs to be loaded.
    const load = { stage: "load", name: segment.model, tookMs: parts.clock.nowMs() - askedMs } as const;
    const response = await runGranted(parts, request, { loaded, granted, place }, call);
    if (load.tookMs < worthTellingMs) return response;
    const { account } = response;
    return { ...response, account: { ...account, stages: [load, ...account.stages] } };
  } finally {
    granted?.[Symbol.dispose]();
    turn?.[Symbol.dispose]();
    version[Symbol.dispose]();
  }
}

/** Shorter loads are not reported: they only made a plan. */
const worthTellingMs = 1;

/** Runs a request with the capacity granted to it. */
async function runGranted(
  parts: ServeParts,
  request: InferenceRequest,
  { loaded, granted, place }: { loaded: LoadedVersion; granted: Granted; place: LinePosition | undefined },
  call: Call,
): Promise<InferenceResponse> {
  const { segment, sequence } = request;
  const { plan, leases, admission } = granted;
  if (plan.answersAt !== undefined) {
    throw new LongshoreError(
      "unsupported",
      "admission",
      `model ${segment.model} gives several answers to a request; request a stream`,
    );
  }
  const grantedMs = parts.clock.nowMs();
  const reading = runInputs(plan, request.inputs, call);
  const inputs = reading instanceof Promise ? await reading : reading;
  // Counted now: inputs that were given away are empty afterwards.
  const bytes = totalBytes(inputs);
  const resolved = resolvedSegment(segment, loaded, granted);
  const runBare = async (state: Tensors, position: SequencePosition | undefined): Promise<SegmentResult> => {
    const result = await runSegment(segmentRun(parts, granted, inputs, state, position, call));
    learn(parts, plan, resolved, bytes, result, loaded);
    return result;
  };
  const run = async (state: Tensors, position: SequencePosition | undefined): Promise<SegmentResult> => {
    using entered = await parts.pipelines.enter(plan, call);
    const result = await runBare(state, position);
    entered.held(result.peakBytes);
    return result;
  };
  // A bare model has nothing between its steps.
  const runs = plan.program.bare ? runBare : run;
  /** @param leftMs What the request would still have taken. */
  const keeping = (leftMs: number): void =>
    parts.expectations.promiseSeen(plan, call.tenant, admission, parts.clock.nowMs() - grantedMs + leftMs);
  let result: SequenceResult;
  try {
    const { sequences, stateKey } = parts;
    if (plan.sequential.length > 0 || plan.stateful.length > 0) {
      const step = { loaded, plan, segment: resolved, inputs, call, place, run: runs };
      result = await runInSequence(request, { sequences, stateKey, ...step });
    } else result = await runs(noTensors, sequence);
    // Answers from memory say nothing about the time of runs.
    if (!anyKept(result)) keeping(0);
  } catch (thrown) {
    if (LongshoreError.is(thrown) && (thrown.reason === "evicted" || thrown.reason === "deadline-exceeded"))
      keeping(admission.predictedMs - admission.waitMs);
    throw thrown;
  }
  const response = responseOf(parts, resolved, result, leases, call);
  if (!sequence) return response;
  return {
    ...response,
    ...(sequence.wantState ? { state: result.state } : {}),
    ...(result.stateSeal === undefined ? {} : { stateSeal: result.stateSeal }),
  };
}

const noTensors: Tensors = new Map();

/** The segment as it is run here, every name filled in. */
export function resolvedSegment(
  segment: Segment,
  { description }: LoadedVersion,
  { program, plan }: Granted,
): Segment {
  const known = resolvedSegments.get(plan);
  if (known) return known;
  const { version, digest } = description;
  const resolved = { ...segment, version, digest, variant: program.variant };
  resolvedSegments.set(plan, resolved);
  return resolved;
}

/** All that a segment says follows from its plan. */
const resolvedSegments = new WeakMap<SegmentPlan, Segment>();

/** The run of a granted request. */
export function segmentRun(
  parts: ServeParts,
  { plan, leases, admission }: Granted,
  inputs: Tensors,
  state: Tensors,
  position: SequencePosition | undefined,
  call: Call,
): SegmentRun {
  const { lane, clock, observer, transforms, elements } = parts;
  return {
    lane,
    clock,
    observer,
    transforms,
    elements,
    plan,
    inputs,
    leases: leases.all,
    admission,
    state,
    position,
    kept: askKept(parts, leases),
    call,
    elementsSeen: ({ step }, count) => parts.expectations.elementsSeen(step, count),
  };
}

/** How steps look up kept answers. */
function askKept(parts: ServeParts, leases: Leases): AskKept | undefined {
  const { answers } = parts;
  return (
    answers &&
    ((request, call, run) =>
      answers.infer(request, call, async (own) => {
        const { outputs, queueMs, runMs, busyMs } = await run(own);
        const { segment } = request;
        const stages: readonly StageTime[] = [
          { stage: "queue", name: segment.model, tookMs: queueMs },
          { stage: "run", name: segment.model, tookMs: runMs },
        ];
        return responseOf(parts, segment, { outputs, stages, busyMs }, leases);
      }))
  );
}

/** One answer, with what it took. */
export function responseOf(
  parts: ServeParts,
  segment: Segment,
  { outputs, stages, busyMs }: Pick<SegmentResult, "outputs" | "stages" | "busyMs">,
  { schedulers }: Leases,
  { maxCostMicros = Infinity }: Pick<Call, "maxCostMicros"> = {},
): InferenceResponse {
  const { id, zone, rates } = parts.info;
  const measured = parts.millijoulesPerMs?.();
  const millijoules = busyMs * (measured ?? rates.activeWatts);
  return {
    outputs,
    ...confidence(outputs),
    account: {
      endpoint: id,
      zone,
      segment,
      stages,
      // Nothing travelled; the server that carries it adds the time of that.
      sentBytes: 0,
      receivedBytes: 0,
      energy: { millijoules, label: measured === undefined ? "estimated" : "measured" },
      // A request with a cost limit is charged at most that limit.
      costMicros: Math.min(maxCostMicros, runMicros(rates, busyMs, millijoules)),
      forwarded: [],
    },
    load: reportFor({ clock: parts.clock, inFlight: () => parts.inFlight() - 1 }, schedulers),
  };
}

/** Throws `unknown-version` where the content here is another than the sender planned with. */
export function checkDigest({ model, digest }: Segment, { description }: LoadedVersion): void {
  if (digest === "" || digest === description.digest) return;
  throw new LongshoreError(
    "unknown-version",
    "resolve",
    `model ${model} version ${description.version} here is ${description.digest}, not ${digest.slice(0, 80)}: the two endpoints hold different contents`,
  );
}

function learn(
  { speeds, expectations }: ServeParts,
  plan: SegmentPlan,
  segment: Segment,
  bytes: number,
  result: SegmentResult,
  { profile }: LoadedVersion,
): void {
  const { stages, serviceMs } = result;
  const transformMs = stages.reduce(
    (sum, { stage, tookMs }) => (stage === "transform" ? sum + tookMs : sum),
    0,
  );
  expectations.transformsSeen(plan, transformMs);
  if (!anyKept(result)) speeds.seen(segment, bytes, serviceMs, profile);
}

/** Whether answers from memory replaced any of its runs. */
function anyKept({ stages }: Pick<SegmentResult, "stages">): boolean {
  return stages.some(({ stage }) => stage === "cache");
}

/** How sure the answer is: the least of an output that is called `confidence`, where a model has one. */
function confidence(outputs: Tensors): Pick<InferenceResponse, "confidenceRatio"> {
  const tensor = outputs.get("confidence");
  if (tensor?.spec.datatype !== "FP32") return {};
  const least = float32View(tensor).reduce((low, value) => Math.min(low, value), 1);
  return { confidenceRatio: Math.max(0, least) };
}

/** How busy this endpoint is for requests like this one. */
export function reportFor(
  { clock, inFlight }: Pick<ServeParts, "clock" | "inFlight">,
  schedulers: Iterable<Scheduler>,
): LoadReport {
  let queueMs = 0;
  let busy = 0;
  const loads: LoadReport[] = [];
  for (const scheduler of schedulers) {
    const load = scheduler.load();
    queueMs += load.queueMs;
    busy += load.cpuRatio;
    loads.push(load);
  }
  const cpuRatio = loads.length > 0 ? busy / loads.length : 0;
  return { atMs: clock.nowMs(), cpuRatio, inFlight: inFlight(), queueMs, ...leastBatch(loads) };
}

/** The turn of a request in its sequence, before it joins any queue; undefined if it does not have to wait. */
function turnOf(
  parts: ServeParts,
  loaded: LoadedVersion,
  request: InferenceRequest,
  call: Call,
  place: LinePosition | undefined,
): Promise<Disposable | undefined> | undefined {
  const { variant, from, to } = request.segment;
  const program = programOf(loaded, variant, parts.info);
  const { sequences } = parts;
  const reach = (plan: SegmentPlan): Promise<Disposable | undefined> | undefined =>
    reachTurn(request, { sequences, loaded, plan, call, place });
  const plan = parts.plans.get(program, from, to, request.outputs, call);
  return plan instanceof Promise ? plan.then(reach) : reach(plan);
}
