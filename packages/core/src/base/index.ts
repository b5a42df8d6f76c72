export * from "./call.ts";
export * from "./clock.ts";
export * from "./error.ts";
export * from "./events.ts";
export * from "./json.ts";
export * from "./random.ts";
export * from "./reasons.ts";
export * from "./when-aborted.ts";
