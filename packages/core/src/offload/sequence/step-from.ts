import { nextStep, type SequencePosition } from "../../wire/endpoint/index.ts";
import type { HeldStep } from "./held-sequences.ts";
import type { SequenceStep } from "./step-line.ts";

/**
 * Where a step goes on from: what the sender brought along, else the last step that was answered here. `isElsewhere`: some endpoint
 * besides this one could lose the state, or the answer, so that a copy of it is wanted.
 */
export function stepFrom(
  held: HeldStep | undefined,
  position: SequencePosition,
  isElsewhere: boolean,
): SequenceStep {
  const follows = position.step === nextStep || position.step === (held?.step ?? -1) + 1;
  const own = position.state === undefined && position.step !== 0 && follows ? held : undefined;
  return {
    id: position.id,
    step: position.step === nextStep && held ? held.step + 1 : position.step,
    end: position.end,
    resident: position.step === 0 ? undefined : held?.endpoint,
    state: position.state ?? own?.state,
    seal: position.state ? position.seal : own?.seal,
    wantState: position.wantState || (isElsewhere && !position.end),
  };
}
