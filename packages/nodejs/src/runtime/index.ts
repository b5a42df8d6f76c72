export { builtFile } from "./built-file.ts";
export * from "./child-runtime.ts";
export * from "./onnx-runtime.ts";
export type { ProviderRuntime } from "./runner-runtime.ts";
export type { ProviderSession } from "./runner-session.ts";
export { addWasm, hasWasm } from "./optional-parts.ts";
export * from "./wasm-runtime.ts";
export { keepYoung } from "./young-memory.ts";
export { type ThreadData, yieldAsConfigured, yieldToFirst } from "./yield-cores.ts";
