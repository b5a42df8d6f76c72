export { encodeInferReply, encodeStreamReply, streamReplyWork } from "./infer-reply.ts";
export { type AddressedRequest, encodeInferRequest, inferRequestWork } from "./infer-request.ts";
export { encodeOrca } from "./orca.ts";
export { peek } from "./peek.ts";
export { onePart, type Parts } from "./write-tensors.ts";
