import type { Call, InferenceRequest, Segment, SequencePosition, Tensors } from "@longshore/core";
import { fingerprint, nextStep } from "@longshore/core/internal";
import type { LoadedVersion } from "../repository/index.ts";
import {
  checkSeal,
  type HeldState,
  initialState,
  type LinePosition,
  type SealKey,
  sealState,
  type SequenceRequest,
  type SequenceStore,
} from "../sequence/index.ts";
import { type SegmentPlan, type SegmentResult, stateName } from "../run/index.ts";

/** The parts that a request of a sequence runs with. */
export interface SequenceTurnParts {
  readonly sequences: SequenceStore;
  /** Undefined: states are exported without a seal. */
  readonly stateKey?: SealKey | undefined;
  readonly loaded: LoadedVersion;
  readonly plan: SegmentPlan;
  readonly segment: Segment;
  readonly inputs: Tensors;
  readonly call: Call;
  /** Its position among the requests of its sequence. */
  readonly place: LinePosition | undefined;
  readonly run: (state: Tensors, position: SequencePosition | undefined) => Promise<SegmentResult>;
}

/** A result with the seal of its state, when the state was requested. */
export type SequenceResult = SegmentResult & { readonly stateSeal?: string };

/**
 * Waits until a request is the first of its sequence and the sequence may run. Undefined if there is nothing to wait for, and
 * for requests outside a sequence.
 */
export function reachTurn(
  { segment, sequence }: InferenceRequest,
  {
    sequences,
    loaded,
    plan,
    call,
    place,
  }: Pick<SequenceTurnParts, "sequences" | "loaded" | "plan" | "call" | "place">,
): Promise<Disposable | undefined> | undefined {
  if (!sequence || !place || plan.sequential.length === 0) return undefined;
  const slots = slotsOf(plan);
  if (slots.slots) {
    const { digest, sequence: rules } = loaded.description;
    const key = { tenant: call.tenant, model: segment.model, digest, id: sequence.id };
    const maxIdleMs = rules?.maxIdleMs ?? 60_000;
    return sequences.reach({ key, position: sequence, maxIdleMs, ...slots }, call, place);
  }
  // Without slots its turn is all that it waits for.
  return place.turn(call)?.then(() => undefined);
}

/** Runs with the state of the sequence, if the segment has any, and keeps what comes of it. */
export async function runInSequence(
  { sequence }: InferenceRequest,
  parts: SequenceTurnParts,
): Promise<SequenceResult> {
  const { plan, segment, inputs, call, loaded, stateKey, run } = parts;
  const states = statesOf(plan);
  if (plan.sequential.length === 0 || !sequence) return run(initialState(states), sequence);
  const key = { tenant: call.tenant, model: segment.model, digest: segment.digest, id: sequence.id };
  const checked = checkSeal(stateKey, key, sequence, call);
  if (checked) await checked;
  const entered = parts.sequences.enter(
    {
      key,
      position: sequence,
      states,
      maxIdleMs: loaded.description.sequence?.maxIdleMs ?? 60_000,
      // Without step numbers, a caller cannot say which of two equal requests is a retry.
      fingerprint:
        sequence.step === nextStep
          ? undefined
          : fingerprint(`${segment.variant} ${segment.from}..${segment.to}`, inputs),
      idempotencyKey: call.idempotencyKey,
      ...slotsOf(plan),
    },
    call,
    parts.place,
  );
  const turn = entered instanceof Promise ? await entered : entered;
  let result: SegmentResult;
  // Not `using`: its compiled form is slow, and every step of every sequence runs this.
  try {
    if (turn.remembered) result = { ...turn.remembered, stages: [], busyMs: 0, serviceMs: 0, peakBytes: 0 };
    else {
      result = await run(turn.state, { ...sequence, step: turn.step });
      turn.commit(result);
    }
    if (!sequence.wantState || !stateKey || states.length === 0) return result;
    return { ...result, stateSeal: await sealState(stateKey, key, turn.step, result.state) };
  } finally {
    turn[Symbol.dispose]();
  }
}

/** Slots of the first step that has any: a sequence holds one, however many models it passes through. */
function slotsOf({ sequential }: SegmentPlan): Pick<SequenceRequest, "slots"> {
  for (const { graph } of sequential) {
    const most = graph.sequence?.slots;
    if (most === undefined) continue;
    return { slots: { name: `${graph.model}/${graph.version}/${graph.file.digest}`, most } };
  }
  return {};
}

/** Worked out once for each plan. */
const statesOfPlans = new WeakMap<SegmentPlan, readonly HeldState[]>();

function statesOf(plan: SegmentPlan): readonly HeldState[] {
  const known = statesOfPlans.get(plan);
  if (known) return known;
  const { program, stateful } = plan;
  const states = stateful.flatMap((step) =>
    step.graph.states.map((state) => ({ ...state, input: stateName(program, step, state.input) })),
  );
  statesOfPlans.set(plan, states);
  return states;
}
