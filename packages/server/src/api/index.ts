export { type CorsOptions, withCors } from "./cors.ts";
export { createHandler } from "./handler.ts";
export type { HandlerParts } from "./parts.ts";
export type { IndexEntry, ServedRepository } from "./repository.ts";
