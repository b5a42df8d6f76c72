/**
 * The address of a built file of this package that a thread or process starts. Threads and processes need built JavaScript: for a source
 * file (a test passes its own address), this returns the built counterpart of its neighbour.
 *
 * @example
 * ```ts
 * import { builtFile } from "@longshore/nodejs";
 *
 * // A worker thread that stands beside this module, as built JavaScript.
 * console.log(builtFile("worker.js", "file:///app/src/main.ts").pathname.endsWith("worker.js")); // true
 * ```
 */
export function builtFile(name: string, here: string = import.meta.url): URL {
  const neighbour = new URL(`./${name}`, here);
  if (here.endsWith(".ts")) neighbour.pathname = neighbour.pathname.replace("/src/", "/dist/");
  return neighbour;
}
