import { create } from "@bufbuild/protobuf";
import { type Datatype, LongshoreError } from "@longshore/core";
import { elementTypeOf } from "./datatypes.ts";
import {
  type AttributeProto,
  AttributeProto_AttributeType as Kind,
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  type TensorProto,
  TypeProtoSchema,
  TypeProto_TensorSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "./onnx_pb.ts";
import { tensorProto, type Values } from "./tensors.ts";

/** A value of an attribute, with its type said: ONNX tells 1 from 1.0. */
export type Attribute =
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly text: string }
  | { readonly texts: readonly string[] }
  | { readonly tensor: TensorProto }
  | { readonly graph: GraphProto };

/** Size of an axis: a number, a name for one that varies ("batch"), or -1 for one that varies without a name. */
export type Axis = number | string;

/** The further fields of a node beside its operator and inputs. */
export interface NodeOptions {
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** Names of the outputs; by default one, named after the operator. */
  readonly outputs?: readonly string[];
  readonly name?: string;
  /** Empty for ONNX's own operators. */
  readonly domain?: string;
}

/** The description of a new model file. */
export interface ModelOptions {
  readonly name: string;
  /** Version of ONNX's own operators. Default 17. */
  readonly opset?: number;
  /** Version of the file format. Default 8, which onnxruntime has read since 1.10. */
  readonly irVersion?: number;
  /** Operator sets of other domains, by domain. */
  readonly domains?: Readonly<Record<string, number>>;
  readonly producer?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Builds a graph node by node. Every method that makes a value returns its name, to be used as an input of later nodes:
 *
 * ```ts
 * const build = graphBuilder();
 * const x = build.input("x", "FP32", ["batch", 4]);
 * const w = build.weights("w", "FP32", [4, 2], new Float32Array(8));
 * build.output(build.node("MatMul", [x, w], { outputs: ["y"] }), "FP32", ["batch", 2]);
 * const bytes = writeModel(build.model({ name: "tiny" }));
 * ```
 */
export interface GraphBuilder {
  /** Declares an input. In the body of a control-flow operator the type may be left out. */
  input(name: string, datatype: Datatype, shape?: readonly Axis[]): string;
  /** Stores a tensor in the graph. Typed arrays are kept, not copied. */
  weights(name: string, datatype: Datatype, shape: readonly number[], values: Values): string;
  /** Adds a node and returns the name of its first output. An input "" is an optional one left out. */
  node(operator: string, inputs: readonly string[], options?: NodeOptions): string;
  /** Declares an output; without a datatype the runtime infers it. */
  output(name: string, datatype?: Datatype, shape?: readonly Axis[]): string;
  /** The graph alone, to be the body of `If`, `Loop` or `Scan` in another. */
  graph(name: string): GraphProto;
  /** The graph as a model file. Throws `invalid-model` when it has no outputs or a node reads what nothing makes. */
  model(options: ModelOptions): ModelProto;
}

/** Starts an empty graph. `outer` lists names of an enclosing graph that a body may read. */
export function graphBuilder(outer: readonly string[] = []): GraphBuilder {
  const graph = create(GraphProtoSchema, {});
  const known = new Set(["", ...outer]);
  let serial = 0;
  const define = (name: string): string => {
    if (known.has(name)) throw invalid(`two values are called "${name}"`);
    known.add(name);
    return name;
  };
  const need = (name: string, by: string): string => {
    if (!known.has(name)) throw invalid(`${by} reads "${name}", which nothing before it makes`);
    return name;
  };
  return {
    input(name, datatype, shape) {
      graph.input.push(valueInfo(define(name), elementTypeOf(datatype), shape));
      return name;
    },
    weights(name, datatype, shape, values) {
      graph.initializer.push(tensorProto(define(name), datatype, shape, values));
      return name;
    },
    node(operator, inputs, options = {}) {
      serial++;
      const outputs = options.outputs ?? [`${operator.toLowerCase()}_${serial}`];
      for (const name of inputs) need(name, operator);
      for (const name of outputs) if (name !== "") define(name);
      graph.node.push(
        create(NodeProtoSchema, {
          name: options.name ?? `${operator}_${serial}`,
          opType: operator,
          domain: options.domain ?? "",
          input: [...inputs],
          output: [...outputs],
          attribute: Object.entries(options.attributes ?? {}).map(([name, value]) => attribute(name, value)),
        }),
      );
      return outputs[0] ?? "";
    },
    output(name, datatype, shape) {
      need(name, "the graph's output list");
      graph.output.push(valueInfo(name, datatype && elementTypeOf(datatype), shape));
      return name;
    },
    graph(name) {
      graph.name = name;
      return graph;
    },
    model(options) {
      if (graph.output.length === 0) throw invalid(`model "${options.name}" has no outputs`);
      graph.name = options.name;
      return wrap(graph, options);
    },
  };
}

function wrap(graph: GraphProto, options: ModelOptions): ModelProto {
  const sets = [["", options.opset ?? 17] as const, ...Object.entries(options.domains ?? {})];
  return create(ModelProtoSchema, {
    irVersion: BigInt(options.irVersion ?? 8),
    producerName: options.producer ?? "longshore",
    graph,
    opsetImport: sets.map(([domain, version]) =>
      create(OperatorSetIdProtoSchema, { domain, version: BigInt(version) }),
    ),
    metadataProps: Object.entries(options.metadata ?? {}).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value }),
    ),
  });
}

/** Declares a tensor in a graph. Without an element type nothing is said of its type; without a shape nothing of that. */
export function valueInfo(
  name: string,
  elementType: number | undefined,
  shape: readonly Axis[] | undefined,
): ValueInfoProto {
  if (elementType === undefined) return create(ValueInfoProtoSchema, { name });
  const tensor = create(TypeProto_TensorSchema, {
    elemType: elementType,
    ...(shape && {
      shape: create(TensorShapeProtoSchema, {
        dim: shape.map((axis) => create(TensorShapeProto_DimensionSchema, { value: dimension(axis) })),
      }),
    }),
  });
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: "tensorType", value: tensor } }),
  });
}

function dimension(
  axis: Axis,
):
  | { case: "dimValue"; value: bigint }
  | { case: "dimParam"; value: string }
  | { case: undefined; value?: undefined } {
  if (typeof axis === "string") return { case: "dimParam", value: axis };
  return axis < 0 ? { case: undefined } : { case: "dimValue", value: BigInt(axis) };
}

const encoder = new TextEncoder();

/** An attribute of a node. */
export function attribute(name: string, value: Attribute): AttributeProto {
  if ("int" in value) return create(AttributeProtoSchema, { name, type: Kind.INT, i: BigInt(value.int) });
  if ("ints" in value)
    return create(AttributeProtoSchema, { name, type: Kind.INTS, ints: value.ints.map(BigInt) });
  if ("float" in value) return create(AttributeProtoSchema, { name, type: Kind.FLOAT, f: value.float });
  if ("floats" in value)
    return create(AttributeProtoSchema, { name, type: Kind.FLOATS, floats: [...value.floats] });
  if ("text" in value)
    return create(AttributeProtoSchema, { name, type: Kind.STRING, s: encoder.encode(value.text) });
  if ("texts" in value) {
    const strings = value.texts.map((text) => encoder.encode(text));
    return create(AttributeProtoSchema, { name, type: Kind.STRINGS, strings });
  }
  if ("tensor" in value) return create(AttributeProtoSchema, { name, type: Kind.TENSOR, t: value.tensor });
  return create(AttributeProtoSchema, { name, type: Kind.GRAPH, g: value.graph });
}

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-model", "resolve", message);
}
