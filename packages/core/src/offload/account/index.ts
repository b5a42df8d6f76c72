export { accountOf, answerOf } from "./account.ts";
export { bookTry, type Planned } from "./book-try.ts";
export { type Hold, Purse } from "./purse.ts";
export { addTally, type LostLeg, newTally, type Tally } from "./tally.ts";
