import type { EndpointInfo, SequencePosition } from "../../wire/endpoint/index.ts";
import type { Leg } from "../../decide/plan/index.ts";
import type { SequenceStep } from "./step-line.ts";

/**
 * What a leg tells its endpoint of the sequence: the copy of the state where the plan says that it is carried, and the wish
 * to get it back only from endpoints that let it go.
 */
export function sequencePosition(
  sequence: SequenceStep | undefined,
  leg: Leg,
  keeps: EndpointInfo["state"],
): { readonly sequence?: SequencePosition } {
  if (!sequence) return {};
  const { id, step, end, state, seal, wantState } = sequence;
  return {
    sequence: {
      id,
      step,
      end,
      wantState: wantState && keeps === "movable",
      ...(leg.state === "carried" && state ? { state, ...(seal === undefined ? {} : { seal }) } : {}),
    },
  };
}
