export * from "./backlog.ts";
export { bookTry, type Planned } from "./book-try.ts";
export * from "./frame-line.ts";
export { addTally, newTally, type Tally } from "./tally.ts";
