export { type Knowledge, knowledgeOf } from "./knowledge.ts";
export { nothingKnown } from "./nothing-known.ts";
export type { UpkeepOptions } from "./options.ts";
