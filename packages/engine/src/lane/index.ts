export * from "./chain.ts";
export * from "./inline-lane.ts";
export * from "./lane.ts";
