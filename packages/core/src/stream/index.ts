export { accountOf, answerOf } from "./account.ts";
export * from "./backlog.ts";
export { bookTry, type Planned } from "./book-try.ts";
export * from "./frame-line.ts";
export { type Payback, payback, savedMs } from "./payback.ts";
export { addTally, type LostLeg, newTally, type Tally } from "./tally.ts";
