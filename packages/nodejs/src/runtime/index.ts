export { builtFile } from "./built-file.ts";
export * from "./child-runtime.ts";
export * from "./choose-runtime.ts";
export * from "./onnx-runtime.ts";
export type { PassedOver } from "./runner-message.ts";
export type { ProviderRuntime } from "./runner-runtime.ts";
export type { ProviderSession } from "./runner-session.ts";
export * from "./wasm-runtime.ts";
export { type ThreadData, yieldAsTold, yieldToFirst } from "./yield-cores.ts";
