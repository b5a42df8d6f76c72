import nodeModule from "node:module";
import { join } from "node:path";
import { cacheFolderOf } from "../engine/cache-folder.ts";

/** `enableCompileCache` of Node.js 22.1 and later. */
type Enable = (folder: string) => unknown;

/** `--cache-dir` or `--no-cache-dir` among the arguments, which are read as a whole only once the code for that is loaded. */
function cacheDirOf(argv: readonly string[]): string | false | undefined {
  if (argv.includes("--no-cache-dir")) return false;
  const at = argv.indexOf("--cache-dir");
  const joined = argv.find((one) => one.startsWith("--cache-dir="));
  return at < 0 ? joined?.slice("--cache-dir=".length) : argv[at + 1];
}

/**
 * Keeps compiled code of this program in the cache folder, where this Node.js can: call it before the rest is imported. Without
 * it, or where the folder cannot be written, the program starts as always. @returns whether it is used
 */
export function useCompileCache(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  // Not among the types of Node.js 20.
  enable: Enable | undefined = (nodeModule as { readonly enableCompileCache?: Enable }).enableCompileCache,
): boolean {
  const cacheDir = cacheDirOf(argv);
  const folder = cacheFolderOf(cacheDir === undefined ? {} : { cacheDir }, environment);
  // A user's `NODE_COMPILE_CACHE` for all programs covers this one, too.
  if (!enable || folder === undefined || environment["NODE_COMPILE_CACHE"] !== undefined) return false;
  enable(join(folder, "compiled"));
  return true;
}
