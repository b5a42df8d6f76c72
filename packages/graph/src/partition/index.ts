export * from "./dag.ts";
export * from "./enumerate.ts";
export * from "./frontier.ts";
export * from "./min-cut.ts";
export * from "./price-frontier.ts";
