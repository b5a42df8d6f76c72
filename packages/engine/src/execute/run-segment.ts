import {
  type Call,
  checkCall,
  type Clock,
  type Observer,
  renamed,
  type SequencePosition,
  type StageTime,
  type Tensor,
  type Tensors,
} from "@longshore/core";
import { type Admission, type GraphLease, untilAborted } from "../schedule/index.ts";
import type { Lane } from "./lane.ts";
import { runModelStep } from "./model-step.ts";
import type { ChainAction, ModelAction, SegmentPlan } from "./segment-plan.ts";
import { runValues, type Values } from "./values.ts";

/** What a segment runs with. */
export interface SegmentRun {
  readonly plan: SegmentPlan;
  /** The crossing at its beginning, checked. */
  readonly inputs: Tensors;
  readonly leases: ReadonlyMap<ModelAction, GraphLease>;
  readonly admission: Admission;
  readonly lane: Lane;
  readonly state: Tensors;
  readonly position: SequencePosition | undefined;
  readonly call: Call;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Told how many elements a fan-out had, for the next admission. */
  readonly elementsSeen: (action: ModelAction, count: number) => void;
}

/** What it gave and took. */
export interface SegmentResult {
  readonly outputs: Tensors;
  readonly state: Tensors;
  readonly stages: readonly StageTime[];
  /** Time of processors that it is charged for: transforms and its share of runs. */
  readonly busyMs: number;
  /** Wall time without waiting: what a profile of this segment says. */
  readonly serviceMs: number;
}

/** Runs the actions of a plan one after another. */
export async function runSegment(run: SegmentRun): Promise<SegmentResult> {
  const { plan, call, clock } = run;
  const values = runValues(run.inputs);
  const state = new Map<string, Tensor>();
  const stages: StageTime[] = [];
  let busyMs = 0;
  const note = (stage: StageTime): void => {
    stages.push(stage);
    if (stage.stage === "queue" || stage.stage === "transform" || stage.stage === "run") {
      const { stage: kind, name, tookMs } = stage;
      run.observer.record({
        kind: "stage-ended",
        atMs: clock.nowMs(),
        callId: call.id,
        stage: kind,
        name,
        tookMs,
      });
    }
  };
  for (const [index, action] of plan.actions.entries()) {
    checkCall(call, clock, "execute");
    const drops = plan.drops[index] ?? [];
    if (action.kind === "chain") busyMs += await runChain(run, action, values, drops, note);
    else busyMs += await runModel(run, action, values, drops, state, note);
  }
  const outputs = new Map<string, Tensor>();
  const owned = ownedResults(plan, run.inputs, values);
  for (const [name, tensor] of owned) outputs.set(name, tensor);
  const serviceMs = stages.reduce((sum, { stage, tookMs }) => (stage === "queue" ? sum : sum + tookMs), 0);
  return { outputs, state, stages, busyMs, serviceMs };
}

type Note = (stage: StageTime) => void;

async function runChain(
  run: SegmentRun,
  action: ChainAction,
  values: Values,
  drops: readonly string[],
  note: Note,
): Promise<number> {
  const { lane, call } = run;
  const taken = values.take(action.takes, drops);
  const chain = action.steps.map((step) => step.chain);
  const { values: made, tookMs } = await untilAborted(lane.run(chain, taken, action.gives, call), call);
  values.put(made);
  let total = 0;
  for (const [index, step] of action.steps.entries()) {
    const took = tookMs[index] ?? 0;
    total += took;
    note({ stage: "transform", name: step.id, tookMs: took });
  }
  return total;
}

async function runModel(
  run: SegmentRun,
  action: ModelAction,
  values: Values,
  drops: readonly string[],
  state: Map<string, Tensor>,
  note: Note,
): Promise<number> {
  const lease = run.leases.get(action);
  // The engine leases every action of a plan before it runs one.
  if (!lease) throw new Error(`step ${action.step.id} was not leased`);
  // Elements of one value share its memory, so a value that is taken apart is never given away.
  const giving = action.step.forEach === undefined ? drops : [];
  const taken = values.take(action.takes, giving);
  if (giving !== drops) values.take([], drops);
  const result = await runModelStep(action, taken, {
    program: run.plan.program,
    lease,
    ticket: run.admission.ticket(lease.scheduler),
    call: run.call,
    clock: run.clock,
    state: run.state,
    position: run.position,
  });
  values.put(result.values);
  for (const [name, tensor] of result.state) state.set(name, tensor);
  const { id } = action.step;
  note({ stage: "queue", name: id, tookMs: result.queueMs });
  note({ stage: "run", name: id, tookMs: result.runMs });
  if (action.step.forEach !== undefined) run.elementsSeen(action, result.runs);
  return result.busyMs;
}

/** The results under the names by which they cross, in memory that is the caller's alone. */
function ownedResults(plan: SegmentPlan, inputs: Tensors, values: Values): Tensors {
  const taken = new Set<ArrayBufferLike>([...inputs.values()].map(({ bytes }) => bytes.buffer));
  const owned = new Map<string, Tensor>();
  for (const { spec, value } of plan.results) {
    const tensor = values.get(value);
    if (!tensor) throw new Error(`${value} was not made`);
    const { given: _, ...rest } = renamed(tensor, spec.name);
    // What passes through unchanged, or is wanted under two names, must not share memory with what others own.
    const shared = taken.has(tensor.bytes.buffer);
    taken.add(tensor.bytes.buffer);
    owned.set(spec.name, shared ? { ...rest, bytes: new Uint8Array(tensor.bytes) } : rest);
  }
  return owned;
}
