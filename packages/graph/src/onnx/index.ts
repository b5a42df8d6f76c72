export * from "./build.ts";
export * from "./count-nodes.ts";
export * from "./datatypes.ts";
export type { GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto } from "./onnx_pb.ts";
export * from "./read.ts";
export * from "./tensors.ts";
export * from "./write.ts";
