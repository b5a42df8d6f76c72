export * from "./read.ts";
export * from "./trace.ts";
