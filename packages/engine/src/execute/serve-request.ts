import {
  type Call,
  type Clock,
  type EndpointInfo,
  float32View,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type LoadReport,
  type Observer,
  type Random,
  type Segment,
  type SequenceState,
  type Tensors,
  totalBytes,
} from "@longshore/core";
import { type LoadedVersion, type Program, someNames } from "../repository/index.ts";
import { admit, type GraphLease, type GraphPool, type Scheduler } from "../schedule/index.ts";
import { fingerprint, type SequenceStore, type Turn, zeroState } from "../sequence/index.ts";
import { checkInputs, readInputs } from "./check-inputs.ts";
import type { Expectations } from "./expectations.ts";
import type { Lane } from "./lane.ts";
import type { ModelLife } from "./model-life.ts";
import { stateName } from "./model-step.ts";
import { servedHere } from "./offers.ts";
import type { PlanCache } from "./plan-cache.ts";
import { runSegment, type SegmentResult } from "./run-segment.ts";
import type { ModelAction, SegmentPlan } from "./segment-plan.ts";
import type { Speeds } from "./speed.ts";

/** The parts of an engine that a request passes through. */
export interface ServeParts {
  readonly info: EndpointInfo;
  readonly life: ModelLife;
  readonly pool: GraphPool;
  readonly plans: PlanCache;
  readonly sequences: SequenceStore;
  readonly speeds: Speeds;
  readonly expectations: Expectations;
  readonly lane: Lane;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  /** Requests under way in the whole engine. */
  readonly inFlight: () => number;
}

/** The program of a variant; an empty name means the first that this place serves. Throws `unknown-variant`. */
export function programOf(loaded: LoadedVersion, variant: string, info: EndpointInfo): Program {
  const { name, version, variants } = loaded.description;
  const here = variants.filter((one) => servedHere(one, info));
  const wanted = variant === "" ? here[0]?.name : here.find((one) => one.name === variant)?.name;
  const program = wanted === undefined ? undefined : loaded.programs.get(wanted);
  if (program) return program;
  throw new LongshoreError(
    "unknown-variant",
    "resolve",
    `model ${name} version ${version} has no variant ${JSON.stringify(variant)} on this ${info.tier}; served here: ${someNames(here.map((one) => one.name))}`,
  );
}

/** Resolves, admits and runs one request whose call ends at its deadline. */
export async function serveRequest(
  parts: ServeParts,
  request: InferenceRequest,
  call: Call,
): Promise<InferenceResponse> {
  const { segment } = request;
  using version = await parts.life.acquire(segment.model, segment.version, call);
  const { loaded } = version;
  checkDigest(segment, loaded);
  const program = programOf(loaded, segment.variant, parts.info);
  const plan = await parts.plans.get(program, segment.from, segment.to, request.outputs, call);
  checkInputs(plan, request.inputs);
  using leases = await leaseAll(parts.pool, plan, version.owner, call);
  using admission = admit(
    [...leases.all].map(([action, { scheduler }]) => ({
      scheduler,
      runs: action.step.forEach === undefined ? 1 : parts.expectations.elements(action.step),
    })),
    parts.expectations.transformMs(plan),
    call,
    parts.clock.nowMs(),
    parts.random,
  );
  const inputs = await readInputs(plan, request.inputs, call);
  // Counted now: inputs that were given away are empty afterwards.
  const bytes = totalBytes(inputs);
  const resolved: Segment = {
    ...segment,
    version: loaded.description.version,
    digest: loaded.description.digest,
    variant: program.variant,
  };
  const run = async (state: Tensors): Promise<SegmentResult> => {
    const result = await runSegment({
      lane: parts.lane,
      clock: parts.clock,
      observer: parts.observer,
      plan,
      inputs,
      leases: leases.all,
      admission,
      state,
      position: request.sequence,
      call,
      elementsSeen: ({ step }, count) => parts.expectations.elementsSeen(step, count),
    });
    learn(parts, plan, resolved, bytes, result, loaded);
    return result;
  };
  const result = await withState(parts, request, plan, resolved, inputs, loaded, call, run);
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

interface Leases extends Disposable {
  readonly all: ReadonlyMap<ModelAction, GraphLease>;
  readonly schedulers: ReadonlySet<Scheduler>;
}

/** Everything that the plan runs, loaded; given back when one of them cannot be. */
async function leaseAll(pool: GraphPool, plan: SegmentPlan, owner: object, call: Call): Promise<Leases> {
  const all = new Map<ModelAction, GraphLease>();
  const giveBack = (): void => {
    for (const lease of all.values()) lease[Symbol.dispose]();
  };
  const actions = plan.actions.flatMap((action) => (action.kind === "model" ? [action] : []));
  const leased = await Promise.allSettled(
    actions.map(async (action) => {
      all.set(action, await pool.lease(action.step.graph, action.from, action.to, owner, call));
    }),
  );
  for (const one of leased) {
    if (one.status === "fulfilled") continue;
    giveBack();
    throw LongshoreError.from(one.reason, "execute", "loading a model");
  }
  const schedulers = new Set([...all.values()].map(({ scheduler }) => scheduler));
  return { all, schedulers, [Symbol.dispose]: giveBack };
}

/** Runs with the state of the sequence, if the segment has any, and keeps what comes of it. */
async function withState(
  { sequences }: ServeParts,
  { sequence }: InferenceRequest,
  plan: SegmentPlan,
  segment: Segment,
  inputs: Tensors,
  { description }: LoadedVersion,
  call: Call,
  run: (state: Tensors) => Promise<SegmentResult>,
): Promise<SegmentResult> {
  const states = statesOf(plan);
  if (states.length === 0 || !sequence) return run(zeroState(states));
  const key = { tenant: call.tenant, model: segment.model, digest: segment.digest, id: sequence.id };
  const asked = `${segment.variant} ${segment.from}..${segment.to}`;
  using turn: Turn = await sequences.enter(
    {
      key,
      position: sequence,
      states,
      maxIdleMs: description.sequence?.maxIdleMs ?? 60_000,
      fingerprint: fingerprint(asked, inputs),
    },
    call,
  );
  if (turn.remembered) return { ...turn.remembered, stages: [], busyMs: 0, serviceMs: 0 };
  const result = await run(turn.state);
  turn.commit(result);
  return result;
}

function statesOf({ program, stateful }: SegmentPlan): readonly SequenceState[] {
  return stateful.flatMap((step) =>
    step.graph.states.map((state) => ({ ...state, input: stateName(program, step, state.input) })),
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
