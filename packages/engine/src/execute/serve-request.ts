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
  type Tensors,
  totalBytes,
} from "@longshore/core";
import type { LoadedVersion } from "../repository/index.ts";
import type { Scheduler } from "../schedule/index.ts";
import type { Place, SealKey, SequenceStore } from "../sequence/index.ts";
import { readInputs } from "./check-inputs.ts";
import { type GrantParts, grantRequest } from "./grant-request.ts";
import type { Lane } from "./lane.ts";
import type { ModelLife } from "./model-life.ts";
import { runSegment, type SegmentResult } from "./run-segment.ts";
import type { SegmentPlan } from "./segment-plan.ts";
import { runInSequence, type SequenceResult } from "./sequence-turn.ts";
import type { Speeds } from "./speed.ts";

/** The parts of an engine that a request passes through. */
export interface ServeParts extends GrantParts {
  readonly life: ModelLife;
  readonly sequences: SequenceStore;
  readonly stateKey?: SealKey | undefined;
  readonly speeds: Speeds;
  readonly lane: Lane;
  readonly observer: Observer;
  /** Requests under way in the whole engine. */
  readonly inFlight: () => number;
}

/**
 * Resolves, admits and runs one request whose call ends at its deadline. `place` is where it stands among the requests of
 * its sequence.
 */
export async function serveRequest(
  parts: ServeParts,
  request: InferenceRequest,
  call: Call,
  place?: Place,
): Promise<InferenceResponse> {
  const { segment } = request;
  using version = await parts.life.acquire(segment.model, segment.version, call);
  const { loaded } = version;
  checkDigest(segment, loaded);
  using granted = await grantRequest(parts, loaded, version.owner, request, call);
  const { program, plan, leases, admission } = granted;
  const grantedMs = parts.clock.nowMs();
  const inputs = await readInputs(plan, request.inputs, call);
  // Counted now: inputs that were given away are empty afterwards.
  const bytes = totalBytes(inputs);
  const resolved: Segment = {
    ...segment,
    version: loaded.description.version,
    digest: loaded.description.digest,
    variant: program.variant,
  };
  const run = async (state: Tensors, position: SequencePosition | undefined): Promise<SegmentResult> => {
    const result = await runSegment({
      lane: parts.lane,
      clock: parts.clock,
      observer: parts.observer,
      plan,
      inputs,
      leases: leases.all,
      admission,
      state,
      position,
      call,
      elementsSeen: ({ step }, count) => parts.expectations.elementsSeen(step, count),
    });
    learn(parts, plan, resolved, bytes, result, loaded);
    return result;
  };
  const keeping = (): void =>
    parts.expectations.promiseSeen(plan, admission, parts.clock.nowMs() - grantedMs);
  let result: SequenceResult;
  try {
    result = await runInSequence(request, {
      sequences: parts.sequences,
      stateKey: parts.stateKey,
      loaded,
      plan,
      segment: resolved,
      inputs,
      call,
      place,
      run,
    });
    keeping();
  } catch (thrown) {
    if (LongshoreError.is(thrown) && (thrown.reason === "evicted" || thrown.reason === "deadline-exceeded"))
      keeping();
    throw thrown;
  }
  return {
    outputs: result.outputs,
    ...confidence(result.outputs),
    account: {
      endpoint: parts.info.id,
      zone: parts.info.zone,
      segment: resolved,
      stages: result.stages,
      // Nothing travelled; who carries it here and back adds what that took.
      sentBytes: 0,
      receivedBytes: 0,
      energy: { millijoules: result.busyMs * parts.info.rates.activeWatts, label: "estimated" },
      costMicros: (result.busyMs / 1000) * parts.info.rates.microsPerSecond,
      forwarded: [],
    },
    load: reportFor({ clock: parts.clock, inFlight: () => parts.inFlight() - 1 }, leases.schedulers),
    ...(request.sequence?.wantState ? { state: result.state } : {}),
    ...(result.stateSeal === undefined ? {} : { stateSeal: result.stateSeal }),
  };
}

function checkDigest({ model, digest }: Segment, { description }: LoadedVersion): void {
  if (digest === "" || digest === description.digest) return;
  throw new LongshoreError(
    "unknown-version",
    "resolve",
    `model ${model} version ${description.version} here is ${description.digest}, not ${digest.slice(0, 80)}: the two places hold different contents`,
  );
}

function learn(
  { speeds, expectations }: ServeParts,
  plan: SegmentPlan,
  segment: Segment,
  bytes: number,
  { stages, serviceMs }: SegmentResult,
  { profile }: LoadedVersion,
): void {
  const transformMs = stages.reduce(
    (sum, { stage, tookMs }) => (stage === "transform" ? sum + tookMs : sum),
    0,
  );
  expectations.transformsSeen(plan, transformMs);
  speeds.seen(segment, bytes, serviceMs, profile);
}

/** How sure the answer is: the least of an output that is called `confidence`, where a model has one. */
function confidence(outputs: Tensors): Pick<InferenceResponse, "confidenceRatio"> {
  const tensor = outputs.get("confidence");
  if (tensor?.spec.datatype !== "FP32") return {};
  const least = float32View(tensor).reduce((low, value) => Math.min(low, value), 1);
  return { confidenceRatio: Math.max(0, least) };
}

/** How busy this place is for requests like this one. */
export function reportFor(
  { clock, inFlight }: Pick<ServeParts, "clock" | "inFlight">,
  schedulers: Iterable<Scheduler>,
): LoadReport {
  let queueMs = 0;
  let busy = 0;
  let count = 0;
  for (const scheduler of schedulers) {
    const load = scheduler.load();
    queueMs += load.queueMs;
    busy += load.cpuRatio;
    count++;
  }
  return { atMs: clock.nowMs(), cpuRatio: count > 0 ? busy / count : 0, inFlight: inFlight(), queueMs };
}
