import { endCut, startCut } from "@longshore/core";
import { type ModelStep, type Program, valueOfTensor } from "../repository/index.ts";
import type { GraphLease } from "../schedule/index.ts";
import type { ModelAction } from "./actions.ts";
import { statedShape } from "./values.ts";

/** Where a tensor that the graph takes comes from. */
interface Feed {
  /** As the graph calls it. */
  readonly name: string;
  /** State by its name outside, a control input, or a value of the run. */
  readonly from: { readonly state: string } | { readonly control: number } | { readonly value: string };
  /** The shape that the graph has for it, where a caller's differs. */
  readonly shape: readonly number[] | undefined;
}

/** How a step's graph is tied to the values of a run: which of its tensors is what. Tensors have the graph's names. */
export interface Wiring {
  readonly feeds: readonly Feed[];
  readonly fetches: readonly string[];
  /** Values to make, and the output that each is; undefined where the graph has none for it. */
  readonly gives: readonly {
    readonly value: string;
    readonly output: string | undefined;
    readonly shape: readonly number[] | undefined;
  }[];
  /** Outputs that are state, with the state's name outside. */
  readonly states: readonly { readonly output: string; readonly name: string }[];
}

/** The name outside the graph of a state of a step's graph. */
export function stateName(program: Program, step: ModelStep, input: string): string {
  return program.bare ? input : `${step.id}:${input}`;
}

/** Computed once for an action and what is loaded for it, since every request needs it. */
const known = new WeakMap<ModelAction, { readonly inputs: readonly string[]; readonly wiring: Wiring }>();

/** The wiring of an action on the graph that is leased for it. */
export function wiringOf(program: Program, action: ModelAction, lease: GraphLease): Wiring {
  const found = known.get(action);
  if (found?.inputs === lease.inputs) return found.wiring;
  const wiring = wire(program, action, lease);
  known.set(action, { inputs: lease.inputs, wiring });
  return wiring;
}

function wire(program: Program, action: ModelAction, { inputs, outputs }: GraphLease): Wiring {
  const { step, gives } = action;
  const { states, controls, inputShapes, outputShapes } = step.graph;
  const valueOf = (name: string): string => valueOfTensor(program, step, name);
  const from = (name: string): Feed["from"] => {
    if (states.some(({ input }) => input === name)) return { state: stateName(program, step, name) };
    const control = controls.findIndex(({ input }) => input === name);
    return control >= 0 ? { control } : { value: valueOf(name) };
  };
  const fetches = outputs.filter(
    (name) => gives.includes(valueOf(name)) || states.some(({ output }) => output === name),
  );
  return {
    feeds: inputs.map((name) => ({
      name,
      from: from(name),
      shape: action.from === startCut ? statedShape(inputShapes, name) : undefined,
    })),
    fetches,
    gives: gives.map((value) => {
      const output = fetches.find((name) => valueOf(name) === value);
      const shape =
        action.to === endCut && output !== undefined ? statedShape(outputShapes, output) : undefined;
      return { value, output, shape };
    }),
    states: states.map(({ input, output }) => ({ output, name: stateName(program, step, input) })),
  };
}
