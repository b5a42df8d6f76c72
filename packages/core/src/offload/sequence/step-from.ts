import { nextStep, type SequencePosition } from "../../wire/endpoint/index.ts";
import type { HeldStep } from "./held-sequences.ts";
import type { SequenceStep } from "./step-line.ts";

/**
 * Start of a step: the state from the sender, otherwise the last step answered here. `isElsewhere` means that an endpoint other than this
 * one could lose the state or the answer, so a copy of it is requested.
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
