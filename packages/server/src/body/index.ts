export { framesOf } from "./answer-body.ts";
export { type BodyPool, createBodyPool, worthKeepingBytes } from "./body-pool.ts";
export { type Budget, createBudget, type BudgetShare } from "./budget.ts";
export { Holding } from "./holding.ts";
export { separateFiles } from "./separate-files.ts";
export { rawInput, rawLead, rawRequest } from "./raw-request.ts";
export { binaryChoice, wantedOutputs } from "./wanted-outputs.ts";
