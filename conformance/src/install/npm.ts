import { join } from "node:path";
import { installed } from "./cache.ts";
import { must } from "./run.ts";

/** Packages of Node.js with exact versions, in a folder of their own. Returns the folder that holds them by name. */
export async function npmTools(name: string, packages: readonly string[]): Promise<string> {
  const folder = await installed({
    name,
    contents: packages,
    async make(folder) {
      const args = [
        "install",
        "--prefix",
        folder,
        "--no-save",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
      ];
      await must("npm", [...args, "--loglevel=error", ...packages], { cwd: folder });
    },
  });
  return join(folder, "node_modules");
}
