import { toBinary } from "@bufbuild/protobuf";
import { type ModelProto, ModelProtoSchema } from "./onnx_pb.ts";

/**
 * Writes a model as an ONNX file. A model that was read and not changed gives its own bytes again, as long as the file
 * had its fields in ascending order, as every common exporter writes them. The weights are copied once.
 */
export function writeModel(model: ModelProto): Uint8Array {
  return toBinary(ModelProtoSchema, model);
}
