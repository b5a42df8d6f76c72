import {
  type Call,
  bytesTensor,
  type Datatype,
  type Tensor,
  tensorOf,
  type Tensors,
  type TensorSpec,
  textElements,
} from "@longshore/core";
import { bytesOf, housekeepingCall } from "@longshore/core/internal";
import type { Artifact, InferenceSession, Runtime } from "@longshore/engine";
import * as ort from "onnxruntime-node";
import { plainSha256 } from "../src/index.ts";

// The tests' own smallest runtime: onnxruntime-node on this thread. The real one runs in workers and belongs to nodejs.

const types: Readonly<Record<Datatype, ort.Tensor.Type | undefined>> = {
  BOOL: "bool",
  UINT8: "uint8",
  UINT16: "uint16",
  UINT32: "uint32",
  UINT64: "uint64",
  INT8: "int8",
  INT16: "int16",
  INT32: "int32",
  INT64: "int64",
  FP16: "float16",
  BF16: undefined,
  FP32: "float32",
  FP64: "float64",
  BYTES: "string",
};

const views: Readonly<Record<string, new (buffer: ArrayBuffer) => ort.Tensor.DataType & ArrayBufferView>> = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
};

function toOrt(tensor: Tensor): ort.Tensor {
  const { datatype, shape } = tensor.spec;
  if (datatype === "BYTES") return new ort.Tensor("string", [...textElements(tensor)], shape);
  const View = views[datatype];
  if (!View) throw new Error(`${datatype} cannot be fed`);
  const copy = tensor.bytes.slice();
  return new ort.Tensor(types[datatype] as "float32", new View(copy.buffer) as Float32Array, shape);
}

function fromOrt(name: string, tensor: ort.Tensor): Tensor {
  if (tensor.type === "string") return bytesTensor(name, tensor.data as string[], tensor.dims);
  return tensorOf(name, datatype(tensor.type), tensor.dims, bytesOf(tensor.data as Float32Array));
}

function datatype(type: string): Datatype {
  const found = Object.entries(types).find(([, word]) => word === type);
  if (!found) throw new Error(`${type} has no datatype`);
  return found[0] as Datatype;
}

function specs(metadata: readonly ort.InferenceSession.ValueMetadata[]): readonly TensorSpec[] {
  return metadata.map((one) =>
    one.isTensor
      ? {
          name: one.name,
          datatype: datatype(one.type),
          shape: one.shape.map((size) => (typeof size === "number" ? size : -1)),
        }
      : { name: one.name, datatype: "BYTES", shape: [] },
  );
}

/** onnxruntime-node on the calling thread. */
export function ortRuntime(): Runtime {
  return {
    name: "onnxruntime-test",
    async load(artifact, { fusions = true }, call): Promise<InferenceSession> {
      const session = await ort.InferenceSession.create(await artifact.bytes(call), {
        intraOpNumThreads: 1,
        interOpNumThreads: 1,
        logSeverityLevel: 4,
        ...(fusions ? {} : { graphOptimizationLevel: "disabled" }),
      });
      return {
        inputs: specs(session.inputMetadata),
        outputs: specs(session.outputMetadata),
        async run(feeds, fetches): Promise<Tensors> {
          const given = Object.fromEntries([...feeds].map(([name, tensor]) => [name, toOrt(tensor)]));
          const results = await session.run(given, [...fetches]);
          return new Map(
            fetches.map((name) => {
              const result = results[name];
              if (!result) throw new Error(`no output ${name}`);
              return [name, fromOrt(name, result)];
            }),
          );
        },
        idle: () => Promise.resolve(),
        release: () => session.release(),
      };
    },
    close: () => Promise.resolve(),
  };
}

/** An artifact of some bytes. */
export function artifactOf(bytes: Uint8Array): Artifact {
  return {
    digest: plainSha256(bytes),
    byteLength: bytes.byteLength,
    bytes: () => Promise.resolve(bytes.slice()),
  };
}

export const call: Call = housekeepingCall("graph-tests");
