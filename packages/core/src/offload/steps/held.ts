import type { Call, EndpointId } from "../../words/base/index.ts";
import type { InferenceRequest } from "../../wire/endpoint/index.ts";
import type { CutId, Features } from "../../words/model/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { Leg, LegId, Plan } from "../../decide/plan/index.ts";
import { type Tensor, type Tensors, totalBytes } from "../../words/tensor/index.ts";
import { gather } from "./crossing.ts";

/** A crossing held here, from which a run can continue. */
export interface HeldCrossing {
  readonly cut: CutId;
  /** The variant it belongs to; undefined at `start`, where all variants are open. */
  readonly variant: string | undefined;
  readonly tensors: Tensors;
  /** Inputs that are still arriving and not yet among the tensors. */
  readonly arriving?: InferenceRequest["inputs"];
  readonly bytes: number;
  readonly features: Features;
}

/** The crossing that a head here produced, as the start of the next part. Items are counted when it is ragged. */
export function heldAt(leg: Leg, outputs: Tensors, before: Features): HeldCrossing {
  let items: number | undefined;
  for (const { spec } of outputs.values()) if (spec.ragged === true) items ??= spec.shape[0];
  return {
    cut: leg.segment.to,
    variant: leg.segment.variant,
    tensors: outputs,
    bytes: totalBytes(outputs),
    features: items === undefined ? before : { ...before, items },
  };
}

/** Reads the inputs of a crossing that are still arriving. */
export async function arrived(
  held: HeldCrossing,
  arriving: NonNullable<HeldCrossing["arriving"]>,
  call: Call,
): Promise<HeldCrossing> {
  const tensors = new Map<string, Tensor>();
  for (const [name, input] of arriving) {
    tensors.set(name, "read" in input ? await input.read(call) : input);
  }
  const { arriving: _arriving, ...rest } = held;
  return { ...rest, tensors, bytes: totalBytes(tensors) };
}

/** Inputs of a leg of a plan, after other legs gave `outputs`. */
export function inputsOf(
  leg: Leg,
  { legs }: Plan,
  outputs: ReadonlyMap<LegId, Tensors>,
  known: KnownModel,
  held: HeldCrossing,
  here: EndpointId | undefined,
): InferenceRequest["inputs"] {
  if (leg.takes === "request") return held.arriving ?? held.tensors;
  const own = outputs.get(leg.takes);
  const source = legs.find((one) => one.id === leg.takes);
  const before = source && source.takes !== "request" ? outputs.get(source.takes) : undefined;
  if (source?.endpoint === here) return own ?? held.tensors;
  return gather(known, leg.segment, [own, before, held.tensors]);
}

/** The whole crossing after a leg elsewhere ended: its outputs and the values held here before. */
export function crossingAfter(
  { segment, takes }: Leg,
  given: Tensors,
  outputs: ReadonlyMap<LegId, Tensors>,
  known: KnownModel,
  held: HeldCrossing,
): Tensors {
  return gather(known, { ...segment, from: segment.to }, [given, outputs.get(takes), held.tensors]);
}
