export * from "./answers.ts";
export * from "./credentials.ts";
export * from "./endpoint.ts";
export { type KeptBody, keptBody } from "./kept-body.ts";
export * from "./memory-transport.ts";
export * from "./oip/index.ts";
export * from "./read-body.ts";
export * from "./through.ts";
export * from "./transport.ts";
