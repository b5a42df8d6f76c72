import type { Call, EndpointId } from "../../words/base/index.ts";
import { canBegin, isUnderWay, type WireBody } from "../../wire/body/index.ts";
import { type InferenceRequest, readInputs } from "../../wire/endpoint/index.ts";
import type { CutId, Features } from "../../words/model/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { Leg, LegId, Plan } from "../../decide/plan/index.ts";
import { type Tensors, totalBytes } from "../../words/tensor/index.ts";
import { gather } from "./crossing.ts";

/** A crossing held here, from which a run can continue. */
export interface HeldCrossing {
  readonly cut: CutId;
  /** The variant it belongs to; undefined at `start`, where all variants are open. */
  readonly variant: string | undefined;
  readonly tensors: Tensors;
  /** The inputs that are still arriving and not yet among the tensors. */
  readonly arriving?: ArrivingCrossing;
  readonly bytes: number;
  readonly features: Features;
}

/** Inputs that are still arriving. */
interface ArrivingCrossing {
  readonly inputs: InferenceRequest["inputs"];
  /** The body that they come in, where it may be sent on as it comes. */
  readonly body: WireBody | undefined;
}

/** Whether all inputs of a crossing are here. */
export function hasArrived({ arriving }: HeldCrossing): boolean {
  return arriving === undefined;
}

/** Whether bytes that may be sent on are still on their way here: the time of a run depends on their sender. */
export function isWaiting({ arriving }: HeldCrossing): boolean {
  return arriving?.body !== undefined && isUnderWay(arriving.body);
}

/** Whether the crossing cannot be sent anywhere else: its body was sent on and not kept. */
export function isUnrepeatable({ arriving }: HeldCrossing): boolean {
  return arriving?.body !== undefined && !canBegin(arriving.body);
}

/** The crossing with all of its inputs here. */
export async function arrived({ arriving, ...here }: HeldCrossing, call: Call): Promise<HeldCrossing> {
  if (!arriving) return here;
  const tensors = await readInputs(arriving.inputs, call);
  return { ...here, tensors, bytes: totalBytes(tensors) };
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

/** Inputs of a leg of a plan, after other legs gave `outputs`. */
export function inputsOf(
  leg: Leg,
  { legs }: Plan,
  outputs: ReadonlyMap<LegId, Tensors>,
  known: KnownModel,
  held: HeldCrossing,
  here: EndpointId | undefined,
): InferenceRequest["inputs"] {
  if (leg.takes === "request") return held.arriving?.inputs ?? held.tensors;
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
