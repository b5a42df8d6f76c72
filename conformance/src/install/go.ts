import { join } from "node:path";
import { installed, Unavailable } from "./cache.ts";
import { must, run } from "./run.ts";

/** A program of a Go module, built into the cache. Returns its path. */
export async function goTool(name: string, module: string): Promise<string> {
  const folder = await installed({
    name,
    contents: [module],
    async make(folder) {
      if ((await run("go", ["version"])).code !== 0) throw new Unavailable("it needs Go");
      await must("go", ["install", module], { cwd: folder, env: { GOBIN: folder, GOFLAGS: "-mod=mod" } });
    },
  });
  return join(folder, name);
}
