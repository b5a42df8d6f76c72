export * from "./device/index.ts";
export * from "./runtime/index.ts";
export * from "./memory/index.ts";
export * from "./store/index.ts";
export * from "./http/index.ts";
export * from "./lane/index.ts";
export * from "./media/index.ts";
