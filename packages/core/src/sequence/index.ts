export * from "./held-sequences.ts";
export * from "./step-line.ts";
