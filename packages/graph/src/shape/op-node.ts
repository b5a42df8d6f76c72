import type { GraphProto, NodeProto, TensorProto } from "../onnx/index.ts";
import type { AttributeProto } from "../onnx/onnx_pb.ts";
import type { TensorType, ValueType } from "./type.ts";

const decoder = new TextDecoder();

/** A node as the rules of its operator see it: attributes by kind, types of its inputs, and its bodies. */
export interface OpNode {
  readonly operator: string;
  /** Version of the operator set of its domain. */
  readonly opset: number;
  readonly inputs: number;
  readonly outputs: number;
  /** Whether input `index` is given. */
  given(index: number): boolean;
  value(index: number): ValueType | undefined;
  /** Type of input `index` when it is a tensor of known element type. */
  tensor(index: number): TensorType | undefined;
  int(name: string): number | undefined;
  ints(name: string): readonly number[] | undefined;
  float(name: string): number | undefined;
  text(name: string): string | undefined;
  texts(name: string): readonly string[] | undefined;
  stored(name: string): TensorProto | undefined;
  attribute(name: string): AttributeProto | undefined;
  /** Infers the outputs of a body with the given types of its inputs. */
  body(name: string, inputs: readonly (ValueType | undefined)[]): readonly (ValueType | undefined)[];
}

/** Types of the outputs of a node, in order; missing ones are unknown. */
export type ShapeRule = (node: OpNode) => readonly (ValueType | undefined)[];

/** Rules by operator name. */
export type ShapeRules = Readonly<Record<string, ShapeRule>>;

/** The context of a node that an `OpNode` needs. */
export interface NodeContext {
  readonly opset: number;
  type(name: string): ValueType | undefined;
  body(graph: GraphProto, inputs: readonly (ValueType | undefined)[]): readonly (ValueType | undefined)[];
  /** Attribute that a function's caller gave, for nodes inside a function. */
  parameter(name: string): AttributeProto | undefined;
}

/** Views a node for the rules. */
export function opNode(node: NodeProto, around: NodeContext): OpNode {
  const attribute = (name: string): AttributeProto | undefined => {
    const found = node.attribute.find((one) => one.name === name);
    return found && found.refAttrName !== "" ? around.parameter(found.refAttrName) : found;
  };
  const value = (index: number): ValueType | undefined => {
    const name = node.input[index];
    return name ? around.type(name) : undefined;
  };
  return {
    operator: node.opType,
    opset: around.opset,
    inputs: node.input.length,
    outputs: node.output.length,
    given: (index) => (node.input[index] ?? "") !== "",
    value,
    tensor(index) {
      const type = value(index);
      return type?.kind === "tensor" ? type : undefined;
    },
    int: (name) => {
      const found = attribute(name);
      return found && Number(found.i);
    },
    ints: (name) => attribute(name)?.ints.map(Number),
    float: (name) => attribute(name)?.f,
    text: (name) => {
      const found = attribute(name);
      return found && decoder.decode(found.s);
    },
    texts: (name) => attribute(name)?.strings.map((text) => decoder.decode(text)),
    stored: (name) => attribute(name)?.t,
    attribute,
    body: (name, inputs) => {
      const graph = attribute(name)?.g;
      return graph ? around.body(graph, inputs) : [];
    },
  };
}
