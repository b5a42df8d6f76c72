import { LongshoreError } from "@longshore/core";

/** Loads a module by its name. */
export type Find = (name: string) => Promise<unknown>;

// The name of an adapter is not a literal where it is imported, so that neither compilers nor bundlers make it a dependency.
const imported: Find = (name) => import(name);

/**
 * Loads the package of an adapter, which is no dependency of this one. Throws `invalid-configuration`, with the command that installs it,
 * if it is missing.
 *
 * @param what The use that needs it: `a directory in Kubernetes`.
 */
export async function adapterPackage(adapter: string, what: string, find: Find = imported): Promise<unknown> {
  const name = `@longshore/${adapter}`;
  try {
    return await find(name);
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ERR_MODULE_NOT_FOUND"))
      throw thrown;
    // The package may be there and lack a dependency, which installing the package again does not mend.
    const [, missing = name] = /Cannot find (?:package|module) '([^']+)'/.exec(thrown.message) ?? [];
    const needs =
      missing === name
        ? `${name}, which is not installed here: npm install ${name}`
        : `${name}, which is here but lacks ${missing.split(/[\\/]/).slice(-3).join("/")}: install its dependencies`;
    throw new LongshoreError("invalid-configuration", "resolve", `${what} needs the package ${needs}`, {
      cause: thrown,
    });
  }
}
