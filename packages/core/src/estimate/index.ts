export * from "./estimate.ts";
export * from "./link.ts";
