export * from "./chain.ts";
export * from "./for-each.ts";
export * from "./inline-lane.ts";
export * from "./lane.ts";
