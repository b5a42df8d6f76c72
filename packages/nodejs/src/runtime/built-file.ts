/**
 * A file of this package that threads and processes start. They need built JavaScript: beside a source (a test names its own
 * address), the built counterpart of its neighbour is meant.
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
