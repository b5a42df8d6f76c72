import { setFlagsFromString } from "node:v8";

/**
 * Makes V8 allocate all new objects in young memory. Objects of a request are dead once it is answered. But if requests wait during a
 * collection, V8 sees many of their objects alive, and then allocates objects from the same code locations directly in old memory. There
 * they stay, with everything they reference, until a full collection (ADR 23). Applies to the whole process: call it at the start of a
 * program of your own.
 *
 * @example
 * ```ts
 * import { keepYoung } from "@longshore/nodejs";
 *
 * // First thing in a server's own program.
 * keepYoung();
 * ```
 */
export function keepYoung(): void {
  setFlagsFromString("--no-allocation-site-pretenuring");
}
