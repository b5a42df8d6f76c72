import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { builtFile } from "./built-file.ts";

/** Specifiers that a built module and its neighbours import. */
function importsOf(module: URL, seen: Set<string> = new Set()): readonly string[] {
  if (seen.has(module.href)) return [];
  seen.add(module.href);
  const source = readFileSync(module, "utf8");
  const specifiers = [
    ...source.matchAll(/(?:^(?:import|export)\b[^;]*?\bfrom |\bimport\()\s*"(?<specifier>[^"]+)"/gm),
  ].map(({ groups }) => groups?.["specifier"] ?? "");
  return specifiers.flatMap((specifier) =>
    specifier.startsWith(".") ? importsOf(new URL(specifier, module), seen) : [specifier],
  );
}

it("a runtime's worker imports no package but ONNX Runtime, so that it starts quickly", () => {
  const packages = importsOf(builtFile("runtime-worker.js")).filter((name) => !name.startsWith("node:"));
  expect([...new Set(packages)].sort()).toEqual(["onnxruntime-node", "onnxruntime-web"]);
});
