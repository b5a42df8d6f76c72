export * from "./held-sequences.ts";
