import {
  type InferenceRequest,
  LongshoreError,
  type ModelDescription,
  type Profile,
  tensorOf,
} from "@longshore/core";
import { estimateSize, inputsHere } from "@longshore/core/internal";
import { wholeSegment } from "../world/simulated-offers.ts";
import type { SimulatedModel } from "../world/simulated-model.ts";
import { farmState } from "./farm-sequences.ts";

/** One request to a farm. */
export interface FarmRequest {
  /** In milliseconds on a server of speed 1. */
  readonly workMs: number;
  /** Its visible feature: the number of elements of its input, 1 or more. */
  readonly size: number;
}

/**
 * A model of the farm, whole or not at all: runs on the profile's machine take what the requests are a sample of, for each
 * size by itself. One `inSequences` carries a kilobyte from step to step, and answers how many there were.
 */
export function farmModel(
  requests: readonly FarmRequest[],
  name: string = "work",
  inSequences: boolean = false,
): SimulatedModel {
  const bySize = new Map<number, number[]>();
  for (const { size, workMs } of requests) {
    const same = bySize.get(size);
    if (same) same.push(workMs);
    else bySize.set(size, [workMs]);
  }
  const sizes = [...bySize.keys()].sort((a, b) => a - b);
  const runMsOf = (size: number): readonly number[] => {
    const sorted = (bySize.get(size) ?? []).sort((a, b) => a - b);
    return Array.from(
      { length: estimateSize },
      (_, index) => sorted[Math.floor(((index + 0.5) / estimateSize) * sorted.length)] ?? 0,
    );
  };
  const tensors = (name: string) => [{ name, datatype: "FP64" as const, shape: [-1] }];
  const description: ModelDescription = {
    name,
    version: "1",
    digest: `sha256:${Array.from(name, (letter) => (letter.charCodeAt(0) & 255).toString(16))
      .join("")
      .padEnd(64, "f")}`,
    inputs: tensors("x"),
    outputs: tensors("y"),
    variants: [{ name: "base", body: { kind: "graph", file: "model.onnx" }, agreementRatio: 1 }],
    batching: { maxBatchSize: 0 },
    instances: [],
    ...(inSequences ? { sequence: { states: [farmState], maxIdleMs: 600_000 } } : {}),
    labels: {},
    trusted: true,
    dataClass: "public",
  };
  const codings = [
    { codecs: {}, bytes: 8, encodeMs: 0, decodeMs: 0, agreementRatio: 1, lossless: true },
  ] as const;
  const cut = (id: "start" | "end", headMs: readonly number[], tailMs: readonly number[]) => ({
    cut: {
      id,
      crossing: id === "start" ? description.inputs : description.outputs,
      reveals: id === "start" ? ("input" as const) : ("answer" as const),
    },
    headMs,
    tailMs,
    headMemoryBytes: 0,
    codings,
  });
  const profile: Profile = {
    schemaVersion: 1,
    model: description.name,
    version: description.version,
    digest: description.digest,
    measuredOn: { runtime: "none", threads: 1, description: "made up" },
    variants: [
      {
        variant: "base",
        agreementRatio: 1,
        buckets: sizes.map((size) => ({
          upTo: { bytes: 8 * size },
          typical: { bytes: 8 * size },
          runs: 5,
          legalCuts: 2,
          cuts: [cut("start", [0], runMsOf(size)), cut("end", runMsOf(size), [0])],
        })),
      },
    ],
  };
  return { description, profile };
}

/** A request as it is sent: its work is the first element of an input of its size, which only the server reads. */
export function farmRequest(model: SimulatedModel, { workMs, size }: FarmRequest): InferenceRequest {
  const elements = new Float64Array(size);
  elements[0] = workMs;
  return {
    segment: wholeSegment(model.description),
    inputs: new Map([["x", tensorOf("x", "FP64", [size], new Uint8Array(elements.buffer))]]),
    codecs: {},
  };
}

/** The content of a request, which only its server reads. */
export function farmWork(request: InferenceRequest): FarmRequest {
  const input = inputsHere(request.inputs).get("x");
  if (!input) {
    throw new LongshoreError("invalid-input", "execute", "a farm takes its work as a tensor x");
  }
  const workMs = new DataView(input.bytes.buffer, input.bytes.byteOffset, 8).getFloat64(0, true);
  return { workMs, size: input.bytes.byteLength / 8 };
}
