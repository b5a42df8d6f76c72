/**
 * Contract tests, fixtures and planted faults, shared by the packages' tests.
 *
 * @module
 */
export * from "./compressor-contract.ts";
export * from "./contradiction.ts";
export * from "./directory-contract.ts";
export * from "./double-endpoint.ts";
export * from "./foreign-metrics.ts";
export * from "./grpc-stream.ts";
export * from "./lane-contract.ts";
export * from "./listed-directory.ts";
export * from "./manual-clock.ts";
export * from "./memory-engine.ts";
export * from "./memory-model.ts";
export * from "./memory-runtime.ts";
export * from "./memory-store.ts";
export * from "./memory-transport.ts";
export * from "./onnx-fixtures.ts";
export * from "./plan-scene.ts";
export * from "./plan-values.ts";
export * from "./plan-world.ts";
export * from "./onnx-runtime-contract.ts";
export * from "./runtime-contract.ts";
export * from "./transport-contract.ts";
export * from "./triton-models.ts";
export * from "./untyped.ts";
export * from "./wrapper-contract.ts";
