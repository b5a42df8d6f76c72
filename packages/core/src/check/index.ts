export { type Asking, confirmed, type Wanted } from "./confirmed.ts";
export { type Checks, createChecks, type Opinion, type Question } from "./checks.ts";
export * from "./golden.ts";
export { readiness } from "./readiness.ts";
export { saidBy } from "./said.ts";
export type { CheckOptions } from "./options.ts";
export { difference, sameBody, type Tolerance, toleranceFor } from "./same-answer.ts";
