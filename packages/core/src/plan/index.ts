export * from "./plan.ts";
export * from "./policy.ts";
