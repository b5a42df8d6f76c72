export * from "./policy/index.ts";
export * from "./trace/index.ts";
