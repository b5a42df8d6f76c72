export * from "./onnx-runtime.ts";
export * from "./wasm-runtime.ts";
