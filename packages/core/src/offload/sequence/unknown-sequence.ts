import { LongshoreError } from "../../words/base/index.ts";
import { nextStep, type SequencePosition } from "../../wire/endpoint/index.ts";

/** The error for a step whose state is not here. Clients of Triton match its words. */
export function unknownSequence(model: string, { id, step }: SequencePosition): LongshoreError {
  return new LongshoreError(
    "sequence-unknown",
    "admission",
    step === nextStep
      ? `inference request for sequence ${id} to model '${model}' must specify the START flag on the first request of the sequence: it never began here, ended, or idled too long`
      : `sequence ${id} has no state here (it never began, ended, or idled too long); step ${step} needs it: begin with step 0 or send the state along`,
  );
}

/** The error for a step of a sequence that was under way and whose state is gone. Unlike an unknown sequence, this is no mistake of the caller. */
export function lostSequence(
  model: string,
  { id }: Pick<SequencePosition, "id">,
  why: string,
): LongshoreError {
  return new LongshoreError(
    "sequence-lost",
    "resolve",
    `the state of sequence ${id.slice(0, 80)} of model '${model}' is lost: ${why}; begin the sequence again with its first step (START flag)`,
  );
}
