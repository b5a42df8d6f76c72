import { LongshoreError } from "../../words/base/index.ts";
import type { Parameters } from "../../words/json/index.ts";
import { flagParameter, read, statePrefix, wholeParameter } from "../protocol/index.ts";
import { renamed, type Tensor, type Tensors } from "../../words/tensor/index.ts";
import { nextStep, type SequencePosition } from "../endpoint/index.ts";

/**
 * Sequences on the wire: Triton's `sequence_id`, `sequence_start` and `sequence_end`, our `longshore_step` and
 * `longshore_want_state`, and carried state as tensors under `longshore-state:<name>`.
 */

/** Parameter of requests and replies that carries the seal of a state. */
export const sealParameter = "longshore_state_seal";

/** Parameters for a position. */
export function sequenceParameters({ id, step, end, wantState, seal }: SequencePosition): Parameters {
  return {
    sequence_id: id,
    sequence_start: step === 0,
    sequence_end: end,
    ...(step === nextStep ? {} : { longshore_step: step }),
    ...(wantState ? { longshore_want_state: true } : {}),
    ...(seal === undefined ? {} : { [sealParameter]: seal }),
  };
}

/** State tensors under their wire names. */
export function stateTensors(state: Tensors | undefined): readonly Tensor[] {
  return [...(state ?? [])].map(([name, tensor]) => renamed(tensor, `${statePrefix}${name}`));
}

/** Takes the state out of the tensors of a message. */
export function splitState(tensors: Tensors): {
  readonly plain: Tensors;
  readonly state: Tensors | undefined;
} {
  let some = false;
  for (const name of tensors.keys()) some ||= name.startsWith(statePrefix);
  if (!some) return { plain: tensors, state: undefined };
  const plain = new Map<string, Tensor>();
  const state = new Map<string, Tensor>();
  for (const [name, tensor] of tensors) {
    if (name.startsWith(statePrefix)) {
      const own = name.slice(statePrefix.length);
      state.set(own, renamed(tensor, own));
    } else {
      plain.set(name, tensor);
    }
  }
  return { plain, state };
}

/** The position of a request in its sequence; carried state comes apart, as tensors. */
type ToldPosition = Omit<SequencePosition, "state">;

/** Reads the parameters; undefined when the request belongs to no sequence (an id of 0 or "" says so too). */
export function readSequence(parameters: Parameters): ToldPosition | undefined {
  const id = read.own(parameters, "sequence_id");
  if (id === undefined || id === 0 || id === "") return undefined;
  const named =
    typeof id === "string"
      ? read.readText(256)(id, "sequence_id")
      : (typeof id === "bigint" || (typeof id === "number" && Number.isSafeInteger(id))) && id > 0
        ? String(id)
        : undefined;
  if (named === undefined) read.refuseField("sequence_id", "text, or a whole number of 0 to 2^64 - 1");
  const start = flagParameter(parameters, "sequence_start", "parameters") ?? false;
  const step = wholeParameter(parameters, "longshore_step", "parameters");
  if (step !== undefined && step > 0 && start) {
    throw new LongshoreError("sequence-step", "decode", `a sequence starts at step 0, not at step ${step}`);
  }
  const seal = read.optional(read.readText(512))(read.own(parameters, sealParameter), sealParameter);
  return {
    id: named,
    // A sender without step numbers marks the start of a sequence; each later request takes the next step.
    step: step ?? (start ? 0 : nextStep),
    end: flagParameter(parameters, "sequence_end", "parameters") ?? false,
    wantState: flagParameter(parameters, "longshore_want_state", "parameters") ?? false,
    ...(seal === undefined ? {} : { seal }),
  };
}
