/** Finds the functions that the packages for apps export, and the examples in their doc comments. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Where a package's functions may be declared: in its own sources first. */
const packages = {
  longshore: ["longshore", "core"],
  nodejs: ["nodejs"],
  web: ["web"],
};

function sourcesOf(root, name) {
  const folder = join(root, "packages", name, "src");
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
    .map((file) => ({ file: join(folder, file), text: readFileSync(join(folder, file), "utf8") }));
}

/** The doc comment just before the declaration of a name. */
function commentOf(sources, name) {
  const declared = new RegExp(
    `/\\*\\*((?:(?!\\*/)[\\s\\S])*)\\*/\\nexport (?:async )?(?:function|class|const) ${name}\\b`,
  );
  const found = sources.flatMap(({ file, text }) => {
    const [, comment] = declared.exec(text) ?? [];
    return comment === undefined ? [] : [{ file, text: comment.replaceAll(/^\s*\* ?/gm, "") }];
  });
  // A command may have a private function of the same name.
  return found.find(({ text }) => text.includes("@example")) ?? found[0];
}

/** All examples, and the functions that have none. */
export async function examples(root) {
  const all = [];
  const missing = [];
  for (const [name, places] of Object.entries(packages)) {
    const sources = places.flatMap((place) => sourcesOf(root, place));
    const exported = await import(join(root, "packages", name, "dist", "index.js"));
    for (const [word, value] of Object.entries(exported)) {
      if (typeof value !== "function") continue;
      const comment = commentOf(sources, word);
      const code = /@example\s+```ts\n([\s\S]*?)```/.exec(comment?.text ?? "")?.[1];
      if (code === undefined) missing.push(`${name}: ${word}`);
      else all.push({ package: name, name: word, file: comment?.file ?? "", code });
    }
  }
  return { all, missing };
}

/** The expected output of an example: the comments after its lines of `console.log`. */
export function printedBy(code) {
  return [...code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map(([, text]) => text ?? "");
}
