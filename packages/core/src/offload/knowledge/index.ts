export { type Knowledge, knowledgeOf, type UpkeepOptions } from "./knowledge.ts";
export { nothingKnown } from "./nothing-known.ts";
