export { type BinaryHead, binaryHead } from "./binary-head.ts";
export { Cursor, wireTypes } from "./cursor.ts";
export { encodeInferReply, encodeStreamReply, streamReplyWork } from "./infer-reply.ts";
export { type AddressedRequest, encodeInferRequest, inferRequestWork } from "./infer-request.ts";
export { encodeOrca, orcaJson } from "./orca.ts";
export { peek, type Peeked } from "./peek.ts";
export { RawContents } from "./raw-contents.ts";
export { onePart, type Parts } from "./write-tensors.ts";
