export * from "./heads.ts";
export * from "./manifest.ts";
export * from "./source.ts";
