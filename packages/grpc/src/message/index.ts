export { encodeInferReply, encodeStreamReply, onePart, type Parts } from "./infer-reply.ts";
export { type AddressedRequest, decodeInferRequest } from "./infer-request.ts";
export { encodeOrca } from "./orca.ts";
export { peek } from "./peek.ts";
