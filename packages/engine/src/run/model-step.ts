import {
  type Call,
  type Clock,
  endCut,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type SequencePosition,
  startCut,
  type Tensor,
  type Tensors,
} from "@longshore/core";
import { collected, eachInputs, fanOut, renamed } from "@longshore/core/internal";
import type { Program } from "../repository/index.ts";
import type { GraphLease, RunOutcome, Ticket } from "../schedule/index.ts";
import { checkSequenceStep, controlTensor } from "./control-inputs.ts";
import type { ModelAction } from "./actions.ts";
import { reshaped, statedShape } from "./values.ts";
import { type Wiring, wiringOf } from "./wiring.ts";

/**
 * Answers a request to the model of a step from the response cache: with a kept answer, with the answer of an equal request under way, or by
 * `run`. The caller owns the memory of the answer. `run` gets a call of its own, because other requests may wait for the run after the first
 * caller is gone.
 */
export type AskKept = (
  request: InferenceRequest,
  call: Call,
  run: (call: Call) => Promise<RunOutcome>,
) => Promise<InferenceResponse>;

/** The parts of a run of a model step. */
export interface ModelStepParts {
  /** The response cache. Absent: nothing is kept. */
  readonly kept: AskKept | undefined;
  readonly program: Program;
  readonly lease: GraphLease;
  readonly ticket: Ticket | undefined;
  /** Whether the ticket has the number of runs already. */
  readonly counted: boolean;
  readonly call: Call;
  readonly clock: Clock;
  /** State to start from, by its name outside (see `stateName`). */
  readonly state: Tensors;
  readonly position: SequencePosition | undefined;
}

/** The outputs and the times of a model step. */
export interface ModelStepResult {
  readonly values: Tensors;
  /** State after it, by its name outside. */
  readonly state: Tensors;
  readonly queueMs: number;
  readonly runMs: number;
  /** Time of instances that it is charged for. */
  readonly busyMs: number;
  readonly runs: number;
  /** Runs that answers from memory replaced. */
  readonly keptRuns: number;
}

/** A run, or the kept answer used instead. */
interface StepOutcome extends RunOutcome {
  readonly fromMemory?: true;
}

/** Runs a step's graph (or the part of it that the action names) once, or once for each element. */
export function runModelStep(
  action: ModelAction,
  values: Tensors,
  parts: ModelStepParts,
): Promise<ModelStepResult> {
  return action.step.forEach === undefined ? runOnce(action, values, parts) : runEach(action, values, parts);
}

async function runOnce(
  action: ModelAction,
  values: Tensors,
  parts: ModelStepParts,
): Promise<ModelStepResult> {
  const wiring = wiringOf(parts.program, action, parts.lease);
  const ask = askFor(action, parts);
  const run = (call: Call): Promise<RunOutcome> => beginOnce(action, wiring, values, { ...parts, call });
  if (!ask) return stepResult(action, wiring, await run(parts.call));
  const inputs = new Map<string, Tensor>();
  for (const [port, value] of Object.entries(action.step.inputs)) {
    const tensor = values.get(value);
    if (!tensor) throw missing(action, port);
    inputs.set(port, tensor);
  }
  return stepResult(action, wiring, await ask(inputs, wiring.fetches, parts.call, run));
}

type Ask = (
  values: Tensors,
  outputs: readonly string[],
  call: Call,
  run: (call: Call) => Promise<RunOutcome>,
) => Promise<StepOutcome>;

/**
 * Looks up kept answers of a step's model; undefined if none are kept. A request to the model itself finds the same answers, so tensors
 * have the names and shapes here that callers of the model see.
 */
function askFor(action: ModelAction, parts: ModelStepParts): Ask | undefined {
  const { step, from, to } = action;
  const { program, kept: ask, position, clock, ticket } = parts;
  // For a request to the model itself, the caller has looked already.
  if (!ask || !step.kept || program.bare || position || from !== startCut || to !== endCut) return undefined;
  const { graph, kept } = step;
  const segment = { model: graph.model, version: graph.version, ...kept, from, to };
  return async (values, outputs, call, run) => {
    const startedMs = clock.nowMs();
    const inputs = new Map([...values].map(([port, tensor]) => [port, renamed(tensor, port)]));
    let ran: RunOutcome | undefined;
    const all = outputs.length === graph.outputs.length;
    const response = await ask(
      { segment, inputs, codecs: {}, ...(all ? {} : { outputs }) },
      call,
      async (own) => {
        const outcome = await run(own);
        ran = { ...outcome, outputs: allSeen(action, outcome.outputs) };
        return ran;
      },
    );
    if (ran) return { ...ran, outputs: response.outputs };
    ticket?.expect(ticket.rows - 1);
    const queueMs = clock.nowMs() - startedMs;
    return { outputs: response.outputs, queueMs, runMs: 0, busyMs: 0, fromMemory: true };
  };
}

/**
 * Runs it once; `stepResult` makes the step's result of the outcome. Throws if a value or a position in its sequence is
 * missing.
 */
export function beginOnce(
  action: ModelAction,
  wiring: Wiring,
  values: Tensors,
  { lease, call, ticket, position, state }: ModelStepParts,
): Promise<RunOutcome> {
  const { step } = action;
  const feeds = new Map<string, Tensor>();
  for (const { name, from, shape } of wiring.feeds) {
    let tensor: Tensor | undefined;
    if ("value" in from) tensor = values.get(from.value);
    else if ("state" in from) tensor = state.get(from.state);
    else {
      const control = step.graph.controls[from.control];
      tensor = control && controlTensor(step, control, position);
    }
    if (!tensor) throw missing(action, name);
    feeds.set(name, renamed(shape ? reshaped(tensor, shape) : tensor, name));
  }
  checkSequenceStep(step, feeds, position);
  return lease.scheduler.run(feeds, wiring.fetches, call, ticket);
}

const nothing: Tensors = new Map();

/** The outputs of a run, by their names in the plan. */
export function stepResult(action: ModelAction, wiring: Wiring, outcome: StepOutcome): ModelStepResult {
  const { outputs, queueMs, runMs, busyMs, fromMemory } = outcome;
  const keptRuns = fromMemory ? 1 : 0;
  const values = new Map<string, Tensor>();
  for (const { value, output, shape } of wiring.gives) {
    const tensor = output === undefined ? undefined : outputs.get(output);
    if (!tensor) throw missing(action, value);
    values.set(value, renamed(shape ? reshaped(tensor, shape) : tensor, value));
  }
  if (wiring.states.length === 0)
    return { values, state: nothing, queueMs, runMs, busyMs, runs: 1, keptRuns };
  const state = new Map<string, Tensor>();
  for (const { output, name } of wiring.states) {
    const tensor = outputs.get(output);
    if (!tensor) throw missing(action, output);
    state.set(name, renamed(tensor, name));
  }
  return { values, state, queueMs, runMs, busyMs, runs: 1, keptRuns };
}

async function runEach(
  action: ModelAction,
  values: Tensors,
  parts: ModelStepParts,
): Promise<ModelStepResult> {
  const { lease, call, clock, ticket } = parts;
  const { step } = action;
  const elements = eachInputs(step, values);
  if (!parts.counted) ticket?.expect(elements.length);
  const startedMs = clock.nowMs();
  const ports = step.outputs.filter(({ value }) => action.gives.includes(value)).map(({ port }) => port);
  const ask = askFor(action, parts);
  const outcomes = await fanOut(
    elements.length,
    lease.scheduler.width,
    call,
    (index, own): Promise<StepOutcome> => {
      const element = elements[index] ?? nothing;
      const run = (call: Call): Promise<RunOutcome> => {
        const feeds = new Map<string, Tensor>();
        for (const [name, tensor] of element) feeds.set(name, fed(action, tensor, name));
        for (const control of step.graph.controls) {
          feeds.set(control.input, controlTensor(step, control, parts.position));
        }
        return lease.scheduler.run(feeds, ports, call, ticket);
      };
      return ask ? ask(element, ports, own, run) : run(own);
    },
  );
  const runs = outcomes.map(({ outputs }) => allSeen(action, outputs));
  const specs = step.graph.outputs.filter(({ name }) => ports.includes(name));
  const made = new Map<string, Tensor>();
  for (const [port, tensor] of collected(runs, specs)) {
    const value = step.outputs.find((output) => output.port === port)?.value ?? port;
    made.set(value, renamed(tensor, value));
  }
  const wallMs = clock.nowMs() - startedMs;
  const ran = outcomes.filter(({ fromMemory }) => !fromMemory);
  const queueMs = Math.min(wallMs, shortestWait(ran.length > 0 ? ran : outcomes));
  return {
    values: made,
    state: new Map(),
    queueMs,
    runMs: wallMs - queueMs,
    busyMs: outcomes.reduce((sum, { busyMs }) => sum + busyMs, 0),
    runs: elements.length,
    keptRuns: outcomes.length - ran.length,
  };
}

/** Until the first of its elements ran, the step waited; from then on it was running. */
function shortestWait(outcomes: readonly RunOutcome[]): number {
  return outcomes.reduce(
    (least, { queueMs }) => Math.min(least, queueMs),
    outcomes.length > 0 ? Infinity : 0,
  );
}

function fed(action: ModelAction, tensor: Tensor, name: string): Tensor {
  const shape = action.from === startCut ? statedShape(action.step.graph.inputShapes, name) : undefined;
  return renamed(shape ? reshaped(tensor, shape) : tensor, name);
}

function seen(action: ModelAction, tensor: Tensor, name: string): Tensor {
  const shape = action.to === endCut ? statedShape(action.step.graph.outputShapes, name) : undefined;
  return shape ? reshaped(tensor, shape) : tensor;
}

/** The outputs as callers of its model see them. */
function allSeen(action: ModelAction, outputs: Tensors): Tensors {
  return new Map([...outputs].map(([name, tensor]) => [name, seen(action, tensor, name)]));
}

function missing(action: ModelAction, name: string): LongshoreError {
  return new LongshoreError(
    "internal",
    "execute",
    `model ${action.step.graph.model} (${action.from}..${action.to}) has no ${name} where its plan expects it`,
  );
}
