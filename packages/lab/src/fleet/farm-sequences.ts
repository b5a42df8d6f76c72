import {
  type InferenceResponse,
  LongshoreError,
  type SequencePosition,
  type SequenceState,
  tensorOf,
  type Tensors,
} from "@longshore/core";
import { nextStep } from "@longshore/core/internal";

/** The state that a model of the farm carries from step to step: as much as the network of a voice activity detector. */
export const farmState: SequenceState = {
  input: "state",
  output: "state",
  datatype: "FP64",
  shape: [128],
};

/** Numbers under a name, of which the first says something. */
function numbers(name: string, shape: readonly number[], first: number): Tensors {
  const values = new Float64Array(shape[0] ?? 0);
  values[0] = first;
  return new Map([[name, tensorOf(name, "FP64", shape, new Uint8Array(values.buffer))]]);
}

/** The step after which a state is. */
function stepOf(state: Tensors): number {
  const bytes = state.get(farmState.input)?.bytes;
  if (!bytes) throw new LongshoreError("invalid-input", "execute", "a farm takes the state that it gave");
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true);
}

/** The sequences that a server of the farm has. */
export interface FarmSequences {
  /**
   * Begins a step; the returned function ends it, with the number of the step as the answer, and the state if it is wanted.
   * Throws `sequence-unknown` for a step after one that was not here, and brings no state.
   */
  begin(position: SequencePosition): () => Pick<InferenceResponse, "outputs" | "state">;
  /** It starts again, without any. */
  forget(): void;
}

/** Starts with none. */
export function farmSequences(): FarmSequences {
  const last = new Map<string, number>();
  return {
    forget: () => last.clear(),
    begin({ id, step, state, end, wantState }) {
      const before = state ? stepOf(state) : step === 0 ? -1 : last.get(id);
      if (before === undefined || (step !== nextStep && step !== before + 1)) {
        throw new LongshoreError(
          "sequence-unknown",
          "resolve",
          `there is no sequence ${id} at that step here`,
        );
      }
      const now = before + 1;
      return () => {
        if (end) last.delete(id);
        else last.set(id, now);
        return {
          outputs: numbers("y", [1], now),
          ...(wantState ? { state: numbers(farmState.output, farmState.shape, now) } : {}),
        };
      };
    },
  };
}
