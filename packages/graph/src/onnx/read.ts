import { clearField, fromBinary } from "@bufbuild/protobuf";
import { LongshoreError } from "@longshore/core";
import { elementBits, elementTypeName } from "./datatypes.ts";
import {
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  type TensorProto,
  TensorProto_DataLocation as Location,
  TensorProto_DataType as Element,
  TensorProtoSchema,
} from "./onnx_pb.ts";
import { tensorElements } from "./tensors.ts";

/** The options of `readModel`. */
export interface ReadOptions {
  /**
   * Files of weights that the model keeps outside itself, by the location that the model names. The weights are shared,
   * not copied, and `writeModel` puts them inside. Without the file such a model is refused.
   */
  readonly externalData?: ReadonlyMap<string, Uint8Array>;
  /** Most nodes, bodies of control flow included. Default 200,000: ten times the largest network seen. */
  readonly maxNodes?: number;
  /** Deepest nesting of bodies of `If`, `Loop` and `Scan`. Default 24; each level costs four messages of the format. */
  readonly maxDepth?: number;
}

const defaultMaxNodes = 200_000;
const defaultMaxDepth = 24;

function invalid(message: string, cause?: unknown): LongshoreError {
  return new LongshoreError("invalid-model", "resolve", message, cause === undefined ? {} : { cause });
}

/**
 * Reads an ONNX file. Weights are views on `bytes`, which must therefore stay unchanged for as long as the model lives. The
 * content of the file is kept whole, unknown fields included, so that `writeModel` gives the same bytes again.
 *
 * Throws `invalid-model` for bytes that are not a complete ONNX file, with the kind of file that they seem to be.
 */
export function readModel(bytes: Uint8Array, options: ReadOptions = {}): ModelProto {
  return readChecked(bytes, options);
}

/**
 * Locations of the files in which a model keeps weights outside itself, relative to its folder; none for most models.
 * They are what `externalData` is to hold. Throws as `readModel`.
 */
export function outsideFiles(
  bytes: Uint8Array,
  options: Omit<ReadOptions, "externalData"> = {},
): readonly string[] {
  const outside = new Set<string>();
  readChecked(bytes, options, outside);
  return [...outside];
}

/** Reads and checks. With `outside`, files of weights that are not there are noted in it instead of refused. */
function readChecked(bytes: Uint8Array, options: ReadOptions, outside?: Set<string>): ModelProto {
  if (bytes.byteLength === 0) throw invalid("the model file is empty");
  const model = decode(bytes, options.maxDepth ?? defaultMaxDepth);
  if (!model.graph) {
    throw invalid(
      `the file (${bytes.byteLength} bytes) holds no ONNX graph: ${guessKind(bytes) ?? "is it truncated?"}`,
    );
  }
  if (model.opsetImport.length === 0 && model.irVersion >= 3n) {
    throw invalid(
      "the ONNX file names no operator set, which follows the graph in most files: is it truncated?",
    );
  }
  const budget = {
    nodes: options.maxNodes ?? defaultMaxNodes,
    depth: options.maxDepth ?? defaultMaxDepth,
    externalData: options.externalData,
    outside,
  };
  checkGraph(model.graph, budget, 0);
  for (const body of model.functions) checkNodes(body.node, budget, 1);
  if (model.graph.output.length === 0) throw invalid("the ONNX graph has no outputs: is it truncated?");
  return model;
}

function decode(bytes: Uint8Array, maxDepth: number): ModelProto {
  const kind = guessKind(bytes);
  if (kind) throw invalid(`the file is not ONNX: ${kind}`);
  try {
    return fromBinary(ModelProtoSchema, bytes, { recursionLimit: 4 * maxDepth + 8 });
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw invalid(
      `the file (${bytes.byteLength} bytes) is not ONNX or is truncated: it does not decode (${detail})`,
      cause,
    );
  }
}

/** The likely kind of a file that is not ONNX, to help the user. */
function guessKind(bytes: Uint8Array): string | undefined {
  const latin = String.fromCharCode(...bytes.subarray(0, 64));
  if (latin.startsWith("version https://git-lfs")) {
    return "it is a Git LFS pointer; fetch the file that it points to";
  }
  if (latin.startsWith("PK\u0003\u0004")) return "it is a zip archive (perhaps a PyTorch checkpoint)";
  if (latin.slice(4, 8) === "TFL3") return "it is a TensorFlow Lite model";
  if (latin.slice(4, 8) === "ORTM") return "it is in ONNX Runtime's own format; the original ONNX is needed";
  if (latin.startsWith("\u0089HDF")) return "it is an HDF5 file (perhaps Keras)";
  if (latin.startsWith("\u0089PNG") || latin.startsWith("\u00ff\u00d8\u00ff")) return "it is an image";
  if (/^\s*(?:<!doctype|<html|<\?xml)/i.test(latin)) return "it is a web page";
  if (/^\s*\{\s*"/.test(latin)) return "it is JSON";
  return undefined;
}

interface Budget {
  nodes: number;
  readonly depth: number;
  readonly externalData: ReadonlyMap<string, Uint8Array> | undefined;
  readonly outside: Set<string> | undefined;
}

function checkGraph(graph: GraphProto, budget: Budget, depth: number): void {
  if (depth > budget.depth) {
    throw invalid(`the ONNX graph nests control flow deeper than ${budget.depth} levels`);
  }
  for (const tensor of graph.initializer) checkTensor(tensor, budget);
  for (const sparse of graph.sparseInitializer) {
    if (sparse.values) checkTensor(sparse.values, budget);
    if (sparse.indices) checkTensor(sparse.indices, budget);
  }
  checkNodes(graph.node, budget, depth);
}

function checkNodes(nodes: readonly NodeProto[], budget: Budget, depth: number): void {
  budget.nodes -= nodes.length;
  if (budget.nodes < 0) throw invalid("the ONNX graph has more nodes than the limit (maxNodes)");
  for (const node of nodes) {
    for (const attribute of node.attribute) {
      if (attribute.t) checkTensor(attribute.t, budget);
      for (const tensor of attribute.tensors) checkTensor(tensor, budget);
      if (attribute.g) checkGraph(attribute.g, budget, depth + 1);
      for (const graph of attribute.graphs) checkGraph(graph, budget, depth + 1);
    }
  }
}

function checkTensor(tensor: TensorProto, budget: Budget): void {
  const count = tensorElements(tensor);
  if (count === undefined) {
    throw invalid(`tensor "${tensor.name}" has sizes [${tensor.dims.join(", ")}], which no tensor can have`);
  }
  if (tensor.dataLocation === Location.EXTERNAL && !takeInside(tensor, budget)) return;
  const bits = elementBits(tensor.dataType);
  if (tensor.rawData.byteLength > 0 && bits !== undefined) {
    const expected = Math.ceil((count * bits) / 8);
    if (tensor.rawData.byteLength !== expected) {
      throw invalid(
        `tensor "${tensor.name}" is ${elementTypeName(tensor.dataType)} [${tensor.dims.join(", ")}], which takes ` +
          `${expected} bytes, but holds ${tensor.rawData.byteLength}`,
      );
    }
    return;
  }
  if (count > 0 && tensor.rawData.byteLength === 0 && storedElements(tensor) < count) {
    throw invalid(
      `tensor "${tensor.name}" should hold ${count} elements but holds ${storedElements(tensor)}: is the file truncated?`,
    );
  }
}

/** Elements in the typed fields. Types narrower than a byte are packed several to an entry, so one entry may hold 4. */
function storedElements(tensor: TensorProto): number {
  const bits = elementBits(tensor.dataType) ?? 8;
  const perEntry =
    tensor.dataType === Element.COMPLEX64 || tensor.dataType === Element.COMPLEX128
      ? 0.5
      : bits < 8
        ? 8 / bits
        : 1;
  const entries = Math.max(
    tensor.floatData.length,
    tensor.int32Data.length,
    tensor.int64Data.length,
    tensor.doubleData.length,
    tensor.uint64Data.length,
    tensor.stringData.length,
  );
  return entries * perEntry;
}

/** Replaces a reference to an external file by a view on the file that was handed in. False when it was only noted. */
function takeInside(tensor: TensorProto, budget: Budget): boolean {
  const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value]));
  const location = entries.get("location") ?? "";
  const file = budget.externalData?.get(location);
  if (!file) {
    budget.outside?.add(location);
    if (budget.outside) return false;
    throw invalid(
      `the weights "${tensor.name}" lie outside the model, in "${location}": hand that file in as well, or save the ` +
        "model with its weights inside",
    );
  }
  const offset = Number(entries.get("offset") ?? 0);
  const length = Number(entries.get("length") ?? file.byteLength - offset);
  if (!(offset >= 0 && length >= 0 && offset + length <= file.byteLength)) {
    throw invalid(
      `the weights "${tensor.name}" should be ${length} bytes at ${offset} of "${location}", which has ${file.byteLength}`,
    );
  }
  tensor.rawData = file.subarray(offset, offset + length);
  tensor.externalData = [];
  clearField(tensor, TensorProtoSchema.field.dataLocation);
  return true;
}
