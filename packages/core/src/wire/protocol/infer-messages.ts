import type { Parameters } from "../../words/json/index.ts";
import type { SharedPart, WireTensor } from "./wire-tensor.ts";

/** An output that a request wants. */
export interface RequestedOutput {
  readonly name: string;
  /** Whether it shall come as binary data; undefined leaves it to the request's `binary_data_output`. */
  readonly binary?: boolean;
  /** The number of best classes wanted instead of the tensor; undefined or 0 for the tensor. */
  readonly classification?: number;
  /** Where its bytes shall be written instead of into the reply. */
  readonly shared?: SharedPart;
}

/** An inference request as the protocol has it. */
export interface InferRequestMessage {
  /** Echoed in the reply. May be empty. */
  readonly id?: string;
  readonly parameters: Parameters;
  readonly inputs: readonly WireTensor[];
  /** Undefined means all. */
  readonly outputs?: readonly RequestedOutput[];
  /** Whether outputs come as binary data unless they say otherwise. */
  readonly binaryOutputs: boolean;
}

/** The reply to an inference request as the protocol has it. */
export interface InferReplyMessage {
  readonly modelName: string;
  readonly modelVersion?: string;
  readonly id?: string;
  readonly parameters: Parameters;
  readonly outputs: readonly WireTensor[];
}
