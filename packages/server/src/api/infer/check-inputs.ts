import {
  type InferenceRequest,
  LongshoreError,
  type ModelKnowledge,
  type PortSpec,
  type Segment,
  startCut,
  type TensorSpec,
} from "@longshore/core";
import { declaredInputs, inputFits } from "@longshore/core/internal";

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "admission", message);
}

/** The inputs of a segment from description and profile; undefined if neither has them. */
function expectedInputs(
  segment: Segment,
  { description, profile }: ModelKnowledge,
): readonly PortSpec[] | undefined {
  if (segment.from === startCut) return declaredInputs(description);
  const variant = profile?.variants.find((one) => one.variant === segment.variant);
  for (const bucket of variant?.buckets ?? []) {
    const found = bucket.cuts.find(({ cut }) => cut.id === segment.from);
    // Sizes inside a crossing depend on the size of the input, so only names, datatypes and ranks are checked.
    if (found) return found.cut.crossing.map((spec) => ({ ...spec, shape: spec.shape.map(() => -1) }));
  }
  return undefined;
}

/** Whether requests may share a run. Requests for a pipeline never do, whatever its batch size: its inputs may differ in rows. */
function mayBeJoined({ variant }: Segment, { description: { batching, variants } }: ModelKnowledge): boolean {
  if (batching.maxBatchSize <= 1) return false;
  return variants.every(({ name, body }) => body.kind === "graph" || (variant !== "" && name !== variant));
}

/** Refuses batch inputs with different numbers of rows: the graph would fail on them, or mix them up. */
function checkRows(expected: readonly TensorSpec[], inputs: InferenceRequest["inputs"]): void {
  let first: { readonly name: string; readonly rows: number } | undefined;
  for (const { name, ragged, shape } of expected) {
    const rows = ragged || shape[0] !== -1 ? undefined : inputs.get(name)?.spec.shape[0];
    if (rows === undefined) continue;
    first ??= { name, rows };
    if (rows !== first.rows) {
      throw invalid(
        `all inputs of a batch have as many rows; ${first.name} has ${first.rows} and ${name} ${rows}`,
      );
    }
  }
}

/** Refuses inputs that do not fit the segment, before they wait in a queue. Throws `invalid-input`. */
export function checkWireInputs(
  segment: Segment,
  knowledge: ModelKnowledge,
  inputs: InferenceRequest["inputs"],
): void {
  const expected = expectedInputs(segment, knowledge);
  if (!expected) return;
  for (const spec of expected) {
    const tensor = inputs.get(spec.name);
    if (!tensor && spec.optional) continue;
    if (!tensor) throw invalid(`the input ${spec.name} is missing`);
    if (tensor.spec.datatype !== spec.datatype) {
      throw invalid(`the input ${spec.name} is ${tensor.spec.datatype}; the model takes ${spec.datatype}`);
    }
    if (!spec.ragged && !inputFits(tensor.spec.shape, spec.shape)) {
      throw invalid(
        `the input ${spec.name} has shape [${tensor.spec.shape.join(", ")}]; the model takes [${spec.shape.join(", ")}]`,
      );
    }
  }
  if (segment.from === startCut && mayBeJoined(segment, knowledge)) checkRows(expected, inputs);
  for (const name of inputs.keys()) {
    if (!expected.some((spec) => spec.name === name)) throw invalid(`the model takes no input ${name}`);
  }
}
