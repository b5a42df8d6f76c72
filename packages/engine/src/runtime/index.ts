export * from "./runtime.ts";
export { padAxes, padRows } from "./padding.ts";
