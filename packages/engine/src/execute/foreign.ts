import {
  type Call,
  endCut,
  type InferenceRequest,
  LongshoreError,
  numericView,
  type Profile,
  startCut,
  type TensorSpec,
} from "@longshore/core";
import { bytesOfInputs, elementBytes, inputsHere, isSideTensor } from "@longshore/core/internal";
import type { LoadedVersion } from "../repository/index.ts";
import type { SegmentPlan } from "../run/index.ts";

/**
 * Untrusted work: models that are not trusted, and parts of models fed by callers from outside, whose tensors at an inner cut
 * can be anything. Both run in the sandbox, with a cap on memory and on time, and may bring no larger inputs than the model was
 * profiled with. A caller that may manage models could load any model, so its calls, and calls inside this program, are not
 * from outside.
 */

/** Whether a plan has to run in the sandbox although its models are trusted. */
export function isForeign({ from, to }: SegmentPlan, { rights }: Call): boolean {
  const part = from !== startCut || to !== endCut;
  return part && rights !== undefined && !rights.includes("manage");
}

/** Room above the largest measured size: buckets end where the profile's samples did. */
const headroom = 2;

/** Refuses inputs of untrusted work that are larger than the profile knows. Throws `invalid-input`. */
export function checkBounds(
  { description, profile }: LoadedVersion,
  plan: SegmentPlan,
  inputs: InferenceRequest["inputs"],
  call: Call,
): void {
  if (!profile || (description.trusted && !isForeign(plan, call))) return;
  checkSides(description.name, profile, plan, inputs);
  const most = mostBytes(profile, plan);
  const bytes = bytesOfInputs(inputs);
  if (most === undefined || bytes <= most) return;
  throw new LongshoreError(
    "invalid-input",
    "admission",
    `segment ${plan.from}..${plan.to} of model ${description.name}: ${bytes} bytes of inputs; its profile was measured up to ${Math.floor(most / headroom)}, and at most ${most} are taken from outside`,
  );
}

/**
 * Side tensors hold sizes: a value far from all that were measured would make the graph take memory for it. They may be as
 * far beyond the measured ones as those are large.
 */
function checkSides(
  model: string,
  { variants }: Profile,
  plan: SegmentPlan,
  inputs: InferenceRequest["inputs"],
): void {
  const { program, from } = plan;
  if (from === startCut) return;
  const buckets = variants.find(({ variant }) => variant === program.variant)?.buckets ?? [];
  const cuts = buckets.flatMap(({ cuts }) => cuts.filter(({ cut }) => cut.id === from));
  for (const [name, input] of inputsHere(inputs)) {
    if (!isSideTensor(input.spec)) continue;
    const ranges = cuts.flatMap(({ sides }) =>
      sides && Object.hasOwn(sides, name) ? (sides[name] ?? []) : [],
    );
    if (ranges.length === 0) continue;
    const least = Math.min(...ranges.map((range) => range.least));
    const most = Math.max(...ranges.map((range) => range.most));
    const room = Math.max(Math.abs(least), Math.abs(most));
    for (const value of numericView(input)) {
      if (Number(value) >= least - room && Number(value) <= most + room) continue;
      throw new LongshoreError(
        "invalid-input",
        "admission",
        `segment ${from}..${plan.to} of model ${model}: ${name} holds a value beyond ${least - room} to ${most + room}; its profile was measured from ${least} to ${most}`,
      );
    }
  }
}

/** The most bytes that may cross at the beginning of a segment; undefined where the profile does not tell. */
function mostBytes({ variants }: Profile, { program, from }: SegmentPlan): number | undefined {
  const buckets = variants.find(({ variant }) => variant === program.variant)?.buckets ?? [];
  const inputs = buckets.flatMap(({ upTo, typical }) =>
    Number.isFinite(upTo.bytes) ? [upTo.bytes] : [typical.bytes],
  );
  const all = buckets.flatMap(({ cuts }) => cuts);
  const own = all.filter(({ cut }) => cut.id === from);
  // A cut that was pruned from the profile is bounded by the largest that was not.
  const crossings = (own.length > 0 ? own : all).flatMap(({ cut }) => sizeOf(cut.crossing) ?? []);
  const measured = from === startCut ? inputs : crossings;
  return measured.length > 0 ? headroom * Math.max(...measured) : undefined;
}

function sizeOf(specs: readonly TensorSpec[]): number | undefined {
  let bytes = 0;
  for (const { datatype, shape } of specs) {
    const width = elementBytes(datatype);
    if (width === 0 || shape.includes(-1)) return undefined;
    bytes += width * shape.reduce((count, size) => count * size, 1);
  }
  return bytes;
}
