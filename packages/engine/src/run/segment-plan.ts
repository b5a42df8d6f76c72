import { type Call, type CutId, endCut, LongshoreError, startCut, type TensorSpec } from "@longshore/core";
import { type ModelStep, type Program, someNames, valueOfTensor } from "../repository/index.ts";
import { type Action, actionsOf, dropsOf, type ModelAction, modelActions, type StepPart } from "./actions.ts";
import { type CrossingTensor, crossingAt, takenValues } from "./crossing.ts";
import { type InnerCuts, type Position, positionOf } from "./positions.ts";

/** How a segment is run: worked out once for each pair of cuts and set of wanted outputs. */
export interface SegmentPlan {
  readonly program: Program;
  readonly from: CutId;
  readonly to: CutId;
  /** Everything that crosses at `from`; `needed` names the values without which nothing can run. */
  readonly crossing: readonly CrossingTensor[];
  readonly needed: ReadonlySet<string>;
  readonly actions: readonly Action[];
  /** All models that it runs, wherever. */
  readonly models: readonly ModelAction[];
  /** Where among the actions the request's answers part; undefined for the usual one. */
  readonly answersAt: number | undefined;
  /** For each action, values that no later action needs. */
  readonly drops: readonly (readonly string[])[];
  readonly results: readonly CrossingTensor[];
  readonly stateful: readonly ModelStep[];
  /** Steps that receive the position in a sequence, whether they keep state or not. */
  readonly sequential: readonly ModelStep[];
}

/**
 * Plans the segment between two cuts. With `wanted`, only those of the crossing at `to`, and what they need, are made;
 * steps that keep state always run. Throws `unknown-cut` and, for a wanted output that does not exist, `invalid-input`.
 */
export async function planSegment(
  program: Program,
  fromCut: CutId,
  toCut: CutId,
  wanted: readonly string[] | undefined,
  inner: InnerCuts,
  call: Call,
): Promise<SegmentPlan> {
  const from = await positionOf(program, fromCut, inner, call);
  const to = await positionOf(program, toCut, inner, call);
  if (from.rank >= to.rank) {
    throw new LongshoreError(
      "unknown-cut",
      "resolve",
      `a segment runs forwards, and ${toCut} does not come after ${fromCut}`,
    );
  }
  const results = wantedOf(crossingAt(program, to), wanted, toCut);
  const crossing = crossingAt(program, from);
  const { kept, needed } = neededParts(partsBetween(program, from, to), results);
  for (const { step } of kept) {
    if (step.kind !== "elsewhere") continue;
    const what = `step ${step.id} runs model ${step.model}, which only other endpoints have`;
    throw new LongshoreError("no-endpoint", "resolve", `${fromCut}..${toCut} cannot run here: ${what}`);
  }
  const keep = new Set(results.map(({ value }) => value));
  const actions = actionsOf(program, kept, [...keep]);
  const models = modelActions(actions);
  const answersAt = actions.findIndex(({ kind }) => kind === "answers");
  return {
    program,
    from: fromCut,
    to: toCut,
    crossing,
    needed,
    actions,
    models,
    answersAt: answersAt < 0 ? undefined : answersAt,
    drops: dropsOf(actions, keep),
    results,
    stateful: models.flatMap(({ step }) => (step.graph.states.length > 0 ? [step] : [])),
    sequential: models.flatMap(({ step }) => (step.graph.sequence ? [step] : [])),
  };
}

function wantedOf(
  all: readonly CrossingTensor[],
  wanted: readonly string[] | undefined,
  cut: CutId,
): readonly CrossingTensor[] {
  if (!wanted) return all;
  return wanted.map((name) => {
    const found = all.find(({ spec }) => spec.name === name);
    if (found) return found;
    const there = someNames(all.map(({ spec }) => spec.name));
    const what = cut === endCut ? "output" : `tensor at ${cut}`;
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      `there is no ${what} called ${JSON.stringify(name)}; there are ${there}`,
    );
  });
}

/** The steps between two positions, the first and the last perhaps in part. */
function partsBetween(program: Program, from: Position, to: Position): readonly StepPart[] {
  const last = to.inner ? to.step + 1 : to.step;
  return program.steps.slice(from.step, last).map((step, offset) => {
    const index = from.step + offset;
    const head = index === from.step ? from.inner : undefined;
    const tail = index === to.step ? to.inner : undefined;
    const outside = (tensors: readonly TensorSpec[], graph: ModelStep): readonly string[] =>
      tensors.map(({ name }) => valueOfTensor(program, graph, name));
    const takes = head && step.kind === "model" ? outside(head.crossing, step) : takenValues(step);
    const makes =
      tail && step.kind === "model" ? outside(tail.crossing, step) : step.outputs.map(({ value }) => value);
    // An input of a graph may still be alive at a cut inside it; it is passed on, not made.
    const passed = new Set([...takes, ...takenValues(step)]);
    return {
      step,
      from: head?.id ?? startCut,
      to: tail?.id ?? endCut,
      takes,
      makes: makes.filter((value) => !passed.has(value)),
    };
  });
}

/** Keeps the parts that a later one needs, walking backwards; `needed` must be there at the beginning. */
function neededParts(
  parts: readonly StepPart[],
  results: readonly CrossingTensor[],
): { readonly kept: readonly StepPart[]; readonly needed: ReadonlySet<string> } {
  const needed = new Set(results.map(({ value }) => value));
  const kept: StepPart[] = [];
  for (const part of parts.toReversed()) {
    const stateful = part.step.kind === "model" && part.step.graph.states.length > 0;
    if (!stateful && !part.makes.some((value) => needed.has(value))) continue;
    for (const value of part.makes) needed.delete(value);
    for (const value of part.takes) needed.add(value);
    kept.unshift(part);
  }
  return { kept, needed };
}
