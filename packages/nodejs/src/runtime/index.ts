export * from "./child-runtime.ts";
export * from "./onnx-runtime.ts";
export * from "./wasm-runtime.ts";
