import { create, type DescMessage, isFieldSet, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type TensorProto,
  TensorProtoSchema,
} from "./onnx_pb.ts";

/*
 * The format writes a message inside another as its length and its bytes. The library makes the inner bytes first and copies
 * them for each level around them, and fresh memory is slow: a file of 90 MB took half a second, during which no other work
 * ran. Here the bytes of large tensors stay where they are until all lengths are known.
 */

/** Fields of the format on the way to the weights, by number. */
const numbers = { graph: 7, initializer: 5, rawData: 9 } as const;
/** Tensors below this are written with what lies around them. */
const largeBytes = 4096;

/**
 * Writes a model as an ONNX file. A model that was read and not changed gives its own bytes again, as long as the file
 * had its fields in ascending order, as every common exporter writes them. The weights are copied once.
 */
export function writeModel(model: ModelProto): Uint8Array {
  const { graph } = model;
  if (!graph?.initializer.some(isLarge)) return toBinary(ModelProtoSchema, model);
  const parts = withField(ModelProtoSchema, model, numbers.graph, [graphParts(graph)]);
  const file = new Uint8Array(sizeOf(parts));
  let at = 0;
  for (const part of parts) {
    file.set(part, at);
    at += part.byteLength;
  }
  return file;
}

type Parts = readonly Uint8Array[];

function isLarge({ rawData }: TensorProto): boolean {
  return rawData.byteLength >= largeBytes;
}

function graphParts(graph: GraphProto): Parts {
  const tensors = graph.initializer.map((tensor): Parts => {
    if (!isLarge(tensor)) return [toBinary(TensorProtoSchema, tensor)];
    return withField(TensorProtoSchema, tensor, numbers.rawData, [[tensor.rawData]]);
  });
  return withField(GraphProtoSchema, graph, numbers.initializer, tensors);
}

/** A message whose field of that number, of variable length, has these values. */
function withField<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
  number: number,
  values: readonly Parts[],
): Parts {
  const before = only(schema, message, (other) => other < number);
  const after = only(schema, message, (other) => other > number);
  if (message.$unknown) after.$unknown = message.$unknown;
  const fields = values.flatMap((value) => [
    new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(sizeOf(value)).finish(),
    ...value,
  ]);
  return [toBinary(schema, before), ...fields, toBinary(schema, after)];
}

function only<D extends DescMessage>(
  schema: D,
  message: MessageShape<D>,
  wanted: (number: number) => boolean,
): MessageShape<D> {
  const part = create(schema);
  for (const field of schema.fields) {
    if (!wanted(field.number) || !isFieldSet(message, field)) continue;
    // Both are of one schema, so what stands in a field of the one fits the same field of the other.
    const [from, to] = [message, part] as unknown as Record<string, unknown>[];
    if (from && to) to[field.localName] = from[field.localName];
  }
  return part;
}

function sizeOf(parts: Parts): number {
  return parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
}
