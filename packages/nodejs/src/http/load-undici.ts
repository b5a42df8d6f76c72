import { createRequire } from "node:module";
import type * as undici from "undici";

const load = createRequire(import.meta.url);

/** The HTTP client. It is loaded with the first transport, since a server that only runs models itself asks no other server. */
export function loadUndici(): typeof undici {
  // A CommonJS module is the object of its exports.
  return load("undici") as typeof undici;
}
