import type { Call, Clock, Observer, SequencePosition, StageTime, Tensor, Tensors } from "@longshore/core";
import { untilAborted } from "@longshore/core/internal";
import type { Admission, GraphLease } from "../schedule/index.ts";
import type { TransformSet } from "../transform/index.ts";
import type { ChainAction, ModelAction } from "./actions.ts";
import type { ElementBudget } from "./element-budget.ts";
import type { Lane } from "../lane/index.ts";
import { type AskKept, type ModelStepParts, type ModelStepResult, runModelStep } from "./model-step.ts";
import type { SegmentPlan } from "./segment-plan.ts";
import { wantsGpu } from "../repository/index.ts";
import { onProcessor } from "../runtime/index.ts";
import type { RunValues } from "./values.ts";

/** The parts of a segment's run. */
export interface SegmentRun {
  readonly plan: SegmentPlan;
  /** The crossing at its beginning, checked. */
  readonly inputs: Tensors;
  readonly leases: ReadonlyMap<ModelAction, GraphLease>;
  readonly admission: Admission;
  readonly lane: Lane;
  readonly transforms: TransformSet;
  readonly elements: ElementBudget;
  readonly state: Tensors;
  readonly position: SequencePosition | undefined;
  readonly kept: AskKept | undefined;
  readonly call: Call;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Told how many elements a fan-out had, for the next admission. */
  readonly elementsSeen: (action: ModelAction, count: number) => void;
}

/** The parts that the actions of one run share. */
export interface RunContext {
  readonly values: RunValues;
  /** State after the steps that keep some. */
  readonly state: Map<string, Tensor>;
  /** Records a stage that ended `agoMs` before now. */
  readonly note: (stage: StageTime, agoMs: number) => void;
}

/** Runs a chain of transforms in a lane. @returns time that it is charged for */
export async function runChain(
  { lane, call }: SegmentRun,
  action: ChainAction,
  drops: readonly string[],
  { values, note }: RunContext,
): Promise<number> {
  const taken = values.take(action.takes, drops);
  const chain = action.steps.map((step) => step.chain);
  const { values: made, tookMs } = await untilAborted(
    lane.run(chain, taken, action.gives, call),
    call.abort,
    "execute",
  );
  values.put(made);
  const total = tookMs.reduce((sum, took) => sum + took, 0);
  let agoMs = total;
  for (const [index, step] of action.steps.entries()) {
    const took = tookMs[index] ?? 0;
    agoMs -= took;
    note({ stage: "transform", name: step.id, tookMs: took }, agoMs);
  }
  return total;
}

/**
 * Runs a model once, or once for each element. `counted`: the caller has already told admission how many runs there will be.
 *
 * @returns time that it is charged for
 */
export async function runModel(
  run: SegmentRun,
  action: ModelAction,
  drops: readonly string[],
  { values, state, note }: RunContext,
  counted = false,
): Promise<number> {
  // Elements of one value share its memory, so a value that is taken apart is never given away.
  const giving = action.step.forEach === undefined ? drops : [];
  const taken = values.take(action.takes, giving);
  if (giving !== drops) values.take([], drops);
  const result = await runOneModel(run, action, taken, note, counted);
  values.put(result.values);
  for (const [name, tensor] of result.state) state.set(name, tensor);
  return result.busyMs;
}

/** Runs a model on the values that it takes, and tells of its stages. */
export async function runOneModel(
  run: SegmentRun,
  action: ModelAction,
  taken: Tensors,
  note: RunContext["note"],
  counted = false,
): Promise<ModelStepResult> {
  const result = await runModelStep(action, taken, stepParts(run, action, counted));
  noteRun(action, result, leaseOf(run, action), note);
  if (action.step.forEach !== undefined && !counted) run.elementsSeen(action, result.runs);
  return result;
}

/** Inputs of the run of an action's model. */
export function stepParts(run: SegmentRun, action: ModelAction, counted: boolean): ModelStepParts {
  const lease = leaseOf(run, action);
  const { plan, admission, kept, call, clock, state, position } = run;
  const { program } = plan;
  const ticket = admission.ticket(lease.scheduler);
  return { program, lease, ticket, counted, kept, call, clock, state, position };
}

/** Tells of the stages of a run. */
export function noteRun(
  { step: { id, graph } }: ModelAction,
  { queueMs, runMs, runs, keptRuns }: ModelStepResult,
  { scheduler: { provider } }: Pick<GraphLease, "scheduler">,
  note: RunContext["note"],
): void {
  if (keptRuns > 0) {
    const all = keptRuns === runs;
    note({ stage: "cache", name: graph.model, tookMs: all ? queueMs + runMs : 0 }, 0);
    if (all) return;
  }
  note({ stage: "queue", name: id, tookMs: queueMs }, runMs);
  note(
    // The processor is named only where the model asks for a GPU.
    provider === undefined || (onProcessor(provider) && !wantsGpu(graph))
      ? { stage: "run", name: id, tookMs: runMs }
      : { stage: "run", name: id, tookMs: runMs, provider },
    0,
  );
}

/** The loaded model of an action. The engine leases every action of a plan before it runs one. */
export function leaseOf({ leases }: SegmentRun, action: ModelAction): GraphLease {
  const lease = leases.get(action);
  if (!lease) throw new Error(`step ${action.step.id} was not leased`);
  return lease;
}
