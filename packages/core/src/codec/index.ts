export * from "./codec-set.ts";
export * from "./codec.ts";
export * from "./deflater.ts";
export { fp16Codec } from "./fp16.ts";
export { int8DeflateCodec } from "./int8-deflate.ts";
export { int8Codec } from "./int8.ts";
export { rawCodec } from "./raw.ts";
export { uint8Codec } from "./uint8.ts";
export { checkedCount, decodedTensor, encodedAs, mismatch, statedCount } from "./counts.ts";
