export * from "./endpoint.ts";
export * from "./transport.ts";
