export * from "./backlog.ts";
export * from "./frame-line.ts";
