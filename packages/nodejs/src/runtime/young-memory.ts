import { setFlagsFromString } from "node:v8";

/**
 * Has V8 lay into young memory all that is made from now on. What requests make is dead once they are answered; but where others wait while
 * it collects, V8 sees much of it alive, and takes the places in the code that make such things for ones to lay into old memory at once. There
 * it is kept, with all that it leads to, until all memory is collected (ADR 23). Holds for the whole process: for a program that is its own, before it begins.
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
