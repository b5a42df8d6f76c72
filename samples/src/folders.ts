import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of this package, the same whether the sources or the built files run. */
export const packageFolder: string = dirname(dirname(fileURLToPath(import.meta.url)));
/** Model descriptions and trained weights, as committed. */
export const modelsFolder: string = join(packageFolder, "models");
/** Sample inputs, as committed. */
export const inputsFolder: string = join(packageFolder, "inputs");
/** The assembled repository, made by `prepare`. */
export const repositoryFolder: string = join(packageFolder, "repository");
