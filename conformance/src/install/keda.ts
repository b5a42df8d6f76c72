import { existsSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { goPrograms } from "./go.ts";
import { must } from "./run.ts";

const module = "github.com/kedacore/keda/v2";
const version = "v2.21.0";

/** The operator of KEDA and the definitions of its kinds. */
export interface Keda {
  readonly operator: string;
  /** Folder of definitions in YAML, one a file. */
  readonly definitions: string;
}

/** KEDA, built from its Go module: 3,300 packages. */
export async function keda(): Promise<Keda> {
  const folder = await goPrograms({
    name: "keda",
    module,
    version,
    packages: { "keda-operator": `${module}/cmd/operator` },
  });
  const definitions = join(folder, "definitions");
  if (!existsSync(definitions)) {
    const told = await must("go", ["mod", "download", "-json", `${module}@${version}`], { cwd: folder });
    const { Dir } = JSON.parse(told) as { readonly Dir: string };
    await cp(join(Dir, "config", "crd", "bases"), definitions, { recursive: true });
  }
  return { operator: join(folder, "keda-operator"), definitions };
}
