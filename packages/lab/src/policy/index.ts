export * from "./compare.ts";
export * from "./ours.ts";
export * from "./policy.ts";
export * from "./references.ts";
export * from "./replay.ts";
