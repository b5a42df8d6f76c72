import type { EndpointInfo, SequencePosition } from "../../wire/endpoint/index.ts";
import type { Leg } from "../../decide/plan/index.ts";
import type { SequenceStep } from "./step-line.ts";

/**
 * The sequence fields of a leg: the copy of the state if the plan carries it, and the request to return the state, made only to endpoints
 * that export it.
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
