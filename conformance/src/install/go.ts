import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { installed, Unavailable } from "./cache.ts";
import { must, run } from "./run.ts";

/** A program of a Go module, built into the cache. Returns its path. */
export async function goTool(name: string, module: string): Promise<string> {
  const folder = await installed({
    name,
    contents: [module],
    async make(folder) {
      await needGo();
      await must("go", ["install", module], { cwd: folder, env: { GOBIN: folder, GOFLAGS: "-mod=mod" } });
    },
  });
  return join(folder, name);
}

/** Programs that `go install` refuses, as their module replaces others or is made here: they are built in a module of their own. */
export interface GoPrograms {
  readonly name: string;
  readonly module: string;
  readonly version: string;
  /** The package of each program, by the name of the program. */
  readonly packages: Readonly<Record<string, string>>;
  /** The version of modules that `module` replaces with folders of its repository, which a downloaded module lacks. */
  readonly stagingVersion?: string;
  /** Variables that the linker sets, by name. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Further modules, with their versions. */
  readonly modules?: Readonly<Record<string, string>>;
  /** A program written here, which `packages` names as `.`. */
  readonly main?: string;
}

/** Builds the programs at low priority, which may take half an hour. Returns the folder that they lie in. */
export function goPrograms(wanted: GoPrograms): Promise<string> {
  const { name, module, version, packages, stagingVersion, variables = {}, modules = {}, main } = wanted;
  const linked = Object.entries(variables)
    .map(([variable, value]) => `-X ${variable}=${value}`)
    .join(" ");
  const required = Object.entries({ [module]: version, ...modules }).map((one) => `require ${one.join(" ")}`);
  return installed({
    name,
    contents: [
      module,
      version,
      JSON.stringify(packages),
      linked,
      ...required.slice(1),
      ...(main ? [main] : []),
    ],
    async make(folder) {
      await needGo();
      const env = { CGO_ENABLED: "0", GOFLAGS: "-mod=mod -trimpath" };
      const replaces = stagingVersion === undefined ? [] : await stagingReplaces(wanted, folder);
      const lines = ["module built", "go 1.26.0", ...required, ...replaces];
      await writeFile(join(folder, "go.mod"), `${lines.join("\n")}\n`);
      if (main !== undefined) await writeFile(join(folder, "main.go"), main);
      for (const [program, one] of Object.entries(packages)) {
        const args = ["build", "-ldflags", linked, "-o", join(folder, program), one];
        await must("nice", ["-n", "19", "go", ...args], {
          cwd: folder,
          env,
          timeoutMs: 3_600_000,
        });
      }
    },
  });
}

/** The `replace` lines of a module, with versions in place of folders. */
async function stagingReplaces(
  { module, version, stagingVersion = "" }: GoPrograms,
  folder: string,
): Promise<readonly string[]> {
  const told = await must("go", ["mod", "download", "-json", `${module}@${version}`], { cwd: folder });
  const { GoMod } = JSON.parse(told) as { readonly GoMod: string };
  const lines = (await readFile(GoMod, "utf8")).matchAll(/^\s*(?:replace )?(\S+) => \.\/staging\/\S+$/gm);
  return [...lines].map(([, path = ""]) => `replace ${path} => ${path} ${stagingVersion}`);
}

async function needGo(): Promise<void> {
  if ((await run("go", ["version"])).code !== 0) throw new Unavailable("it needs Go");
}
