export * from "./backlog.ts";
export * from "./frame-line.ts";
export { addTally, newTally, type Tally } from "./tally.ts";
