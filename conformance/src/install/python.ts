import { join } from "node:path";
import { installed, Unavailable } from "./cache.ts";
import { must, run } from "./run.ts";

/** A Python environment with packages in it. */
export interface PythonTools {
  readonly folder: string;
  readonly python: string;
  /** Where packages lie, with what they bring beside Python. */
  readonly packages: string;
  /** The path of a program that a package installed. */
  program(name: string): string;
}

/** Versions of Python that all the peers' wheels exist for. */
const versions = { least: [3, 9], most: [3, 12] } as const;

async function findPython(): Promise<string> {
  const { code, out } = await run("python3", [
    "-c",
    "import sys, venv, ensurepip; print(*sys.version_info[:2])",
  ]);
  if (code !== 0) throw new Unavailable("it needs python3 with venv and pip");
  const [major = 0, minor = 0] = out.trim().split(" ").map(Number);
  if (major !== 3 || minor < versions.least[1] || minor > versions.most[1]) {
    throw new Unavailable(
      `it needs Python ${versions.least.join(".")} to ${versions.most.join(".")}, this is ${major}.${minor}`,
    );
  }
  return `python${major}.${minor}`;
}

/** An environment of its own for some packages with exact versions, from the package index that pip is set up for. */
export async function pythonTools(name: string, packages: readonly string[]): Promise<PythonTools> {
  const version = await findPython();
  const folder = await installed({
    name,
    contents: [version, ...packages],
    async make(into) {
      await must("python3", ["-m", "venv", into]);
      await must(join(into, "bin", "python"), [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary=:all:",
        "--no-compile",
        ...packages,
      ]);
    },
  });
  return {
    folder,
    python: join(folder, "bin", "python"),
    packages: join(folder, "lib", version, "site-packages"),
    program: (program) => join(folder, "bin", program),
  };
}
