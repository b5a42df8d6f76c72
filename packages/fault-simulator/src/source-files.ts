import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository that this package lies in. */
export const repositoryRoot: string = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");

/** A source file of a package. */
export interface SourceFile {
  /** Absolute. */
  readonly path: string;
  readonly text: string;
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesUnder(path);
    return path.endsWith(".ts") && !path.endsWith(".d.ts") ? [path] : [];
  });
}

/** Sources of all packages but this one; with the tests or without. */
export function sourceFiles(root: string = repositoryRoot): {
  readonly code: readonly SourceFile[];
  readonly tests: readonly string[];
} {
  const packages = readdirSync(join(root, "packages")).filter((name) => name !== "fault-simulator");
  const all = packages.flatMap((name) => filesUnder(join(root, "packages", name, "src")));
  const isTest = (path: string): boolean => path.endsWith(".test.ts");
  return {
    code: all.filter((path) => !isTest(path)).map((path) => ({ path, text: readFileSync(path, "utf8") })),
    tests: all.filter(isTest),
  };
}

/** The one file that a piece of text stands in; undefined where it stands in none, or more than once. */
export function fileWith(search: string, code: readonly SourceFile[]): SourceFile | undefined {
  const holding = code.filter(({ text }) => text.includes(search));
  const [only] = holding;
  if (!only || holding.length > 1) return undefined;
  return only.text.indexOf(search) === only.text.lastIndexOf(search) ? only : undefined;
}
