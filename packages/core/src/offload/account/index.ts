export { accountOf, answerOf } from "./account.ts";
export { bookTry, type Planned } from "./book-try.ts";
export { addTally, type LostLeg, newTally, type Tally } from "./tally.ts";
