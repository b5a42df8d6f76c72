export * from "./manifest.ts";
export * from "./source.ts";
