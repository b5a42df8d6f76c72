import type { StageTime, Tensor, Tensors } from "@longshore/core";
import { checkCall, renamed, stepInputs, totalBytes } from "@longshore/core/internal";
import type { Action, ModelAction } from "./actions.ts";
import { beginOnce, stepResult } from "./model-step.ts";
import { noteRun, runChain, runModel, type RunContext, type SegmentRun, stepParts } from "./run-action.ts";
import { runEachAction } from "./run-each.ts";
import type { SegmentPlan } from "./segment-plan.ts";
import { runValues, type RunValues } from "./values.ts";
import { wiringOf } from "./wiring.ts";

/** The outputs and the times of a segment. */
export interface SegmentResult {
  readonly outputs: Tensors;
  readonly state: Tensors;
  readonly stages: readonly StageTime[];
  /** Time of processors that it is charged for: transforms and its share of runs. */
  readonly busyMs: number;
  /** Wall time without waiting, comparable to a profile of this segment. */
  readonly serviceMs: number;
  /** The most that was held between its steps at one time. */
  readonly peakBytes: number;
}

interface Recorder extends RunContext {
  readonly stages: StageTime[];
}

function recorder(run: SegmentRun, values: RunValues): Recorder {
  const stages: StageTime[] = [];
  return { values, state: new Map(), stages, note: noteInto(run, stages) };
}

/** Writes a stage down and tells of it. */
function noteInto({ clock, call, observer }: SegmentRun, stages: StageTime[]): RunContext["note"] {
  return (stage, agoMs) => {
    stages.push(stage);
    const { stage: kind, name, tookMs } = stage;
    if (kind !== "queue" && kind !== "transform" && kind !== "run") return;
    observer.record({
      kind: "stage-ended",
      atMs: clock.nowMs() - agoMs,
      callId: call.id,
      stage: kind,
      name,
      tookMs,
    });
  };
}

async function runActions(
  run: SegmentRun,
  actions: readonly Action[],
  firstIndex: number,
  running: RunContext,
): Promise<number> {
  let busyMs = 0;
  for (const [index, action] of actions.entries()) {
    checkCall(run.call, run.clock, "execute");
    const drops = run.plan.drops[firstIndex + index] ?? [];
    if (action.kind === "chain") busyMs += await runChain(run, action, drops, running);
    else if (action.kind === "model") busyMs += await runModel(run, action, drops, running);
    else if (action.kind === "each") busyMs += await runEachAction(run, action, drops, running);
    else throw new Error(`step ${action.step.id} gives several answers where one was requested`);
  }
  return busyMs;
}

function resultOf(
  { plan }: SegmentRun,
  { values, state, stages }: Recorder,
  busyMs: number,
  others: Tensors,
): SegmentResult {
  const serviceMs = stages.reduce((sum, { stage, tookMs }) => (stage === "queue" ? sum : sum + tookMs), 0);
  const outputs = ownedResults(plan, others, values);
  return { outputs, state, stages, busyMs, serviceMs, peakBytes: values.peakBytes };
}

/** Runs the actions of a plan one after another. The plan gives one answer. */
export function runSegment(run: SegmentRun): Promise<SegmentResult> {
  const { actions, program } = run.plan;
  const [only] = actions;
  const graph =
    program.bare && actions.length === 1 && only?.kind === "model" && !only.step.forEach ? only : undefined;
  return graph && !anyGiven(run.inputs) ? runGraph(run, graph) : runSteps(run);
}

/**
 * A model that is one graph, with borrowed inputs: nothing lies between steps, and nothing changes hands. All of it waits once,
 * for the run: most small requests are such, and each function more that waits costs them more than what it does.
 */
async function runGraph(run: SegmentRun, action: ModelAction): Promise<SegmentResult> {
  const { call, clock, plan, inputs } = run;
  checkCall(call, clock, "execute");
  const parts = stepParts(run, action, false);
  const wiring = wiringOf(plan.program, action, parts.lease);
  const outcome = await beginOnce(action, wiring, inputs, parts);
  const result = stepResult(action, wiring, outcome);
  const { values, state, busyMs, runMs } = result;
  const stages: StageTime[] = [];
  noteRun(action, result, parts.lease, noteInto(run, stages));
  const outputs = ownedResults(plan, inputs, { get: (name) => values.get(name) ?? inputs.get(name) });
  return { outputs, state, stages, busyMs, serviceMs: runMs, peakBytes: totalBytes(values) };
}

function anyGiven(inputs: Tensors): boolean {
  for (const { given } of inputs.values()) if (given) return true;
  return false;
}

async function runSteps(run: SegmentRun): Promise<SegmentResult> {
  const running = recorder(run, runValues(run.inputs));
  const busyMs = await runActions(run, run.plan.actions, 0, running);
  return resultOf(run, running, busyMs, run.inputs);
}

/**
 * Runs a plan that gives several answers: the actions before the answers part run once, those after it once for each, when the
 * one before was taken. The first answer carries the times of the first part.
 */
export async function* runAnswers(run: SegmentRun, at: number): AsyncIterable<SegmentResult> {
  const { plan, clock, call, transforms } = run;
  const action = plan.actions[at];
  const transform = action?.kind === "answers" ? transforms.get(action.step.chain.transform) : undefined;
  if (action?.kind !== "answers" || !transform?.answers)
    throw new Error("the plan has no step that gives answers");
  const head = recorder(run, runValues(run.inputs));
  let busyMs = await runActions(run, plan.actions.slice(0, at), 0, head);
  const before = [...head.stages];
  const tail = plan.actions.slice(at + 1);
  const shared = sharedValues(plan, tail, head.values);
  const ports = stepInputs(action.step.chain, head.values.take(action.takes, []));
  const answers = transform.answers(ports, transform.parse(action.step.chain.parameters), {
    clock,
    abort: call.abort,
  });
  for await (const made of answers) {
    checkCall(call, clock, "execute");
    const values = runValues(shared);
    values.put(
      new Map(
        [...made].map(([port, tensor]) => {
          const name = `${action.step.id}.${port}`;
          return [name, renamed(tensor, name)] as const;
        }),
      ),
    );
    const running = recorder(run, values);
    running.stages.push(...before.splice(0));
    busyMs += await runActions(run, tail, at + 1, running);
    yield resultOf(run, running, busyMs, new Map([...run.inputs, ...shared]));
    busyMs = 0;
  }
}

/** Values made before the answers part and needed after it. They are lent to each, so that none gives them away. */
function sharedValues({ results }: SegmentPlan, tail: readonly Action[], values: RunValues): Tensors {
  const names = new Set([...tail.flatMap(({ takes }) => takes), ...results.map(({ value }) => value)]);
  return new Map(
    [...names].flatMap((name): [string, Tensor][] => {
      const tensor = values.get(name);
      if (!tensor) return [];
      const { given: _, ...lent } = tensor;
      return [[name, lent]];
    }),
  );
}

/** The results under the names by which they cross, in memory that is the caller's alone. */
function ownedResults(plan: SegmentPlan, others: Tensors, values: Pick<RunValues, "get">): Tensors {
  const owned = new Map<string, Tensor>();
  for (const { spec, value } of plan.results) {
    const tensor = values.get(value);
    if (!tensor) throw new Error(`${value} was not made`);
    const rest = lent(renamed(tensor, spec.name));
    // An output that passes through unchanged, or is wanted under two names, must not share memory that others own.
    const shared = sharesMemory(tensor, others) || sharesMemory(tensor, owned);
    owned.set(spec.name, shared ? { ...rest, bytes: new Uint8Array(tensor.bytes) } : rest);
  }
  return owned;
}

/** Most were never given, and are not copied for it. */
function lent(tensor: Tensor): Tensor {
  if (!("given" in tensor)) return tensor;
  const { given: _, ...rest } = tensor;
  return rest;
}

function sharesMemory({ bytes }: Tensor, others: Tensors): boolean {
  for (const other of others.values()) if (other.bytes.buffer === bytes.buffer) return true;
  return false;
}
