export * from "./runtime.ts";
export { padAxes } from "./padding.ts";
