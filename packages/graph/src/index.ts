/**
 * The processing of a model before it runs: reading and writing ONNX, legal cuts, extraction of segments, partitioning,
 * profiling.
 *
 * @module
 */
export * from "./extract/index.ts";
export * from "./onnx/index.ts";
export * from "./partition/index.ts";
export * from "./profile/index.ts";
export * from "./shape/index.ts";
export * from "./quantize/index.ts";
