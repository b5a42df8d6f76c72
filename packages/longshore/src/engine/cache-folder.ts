import { join } from "node:path";

/** The folder of `--cache-dir`, where there is one; `environment` tells the user's. */
export function cacheFolderOf(
  { cacheDir }: { readonly cacheDir?: string | false },
  environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
  if (cacheDir === false) return undefined;
  if (cacheDir !== undefined) return cacheDir;
  const { XDG_CACHE_HOME: named, HOME: home, LOCALAPPDATA: local } = environment;
  const base = named || local || (home ? join(home, ".cache") : undefined);
  return base === undefined ? undefined : join(base, "longshore");
}
