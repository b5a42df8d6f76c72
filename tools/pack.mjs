/** Packs every published package into a folder: `node tools/pack.mjs [FOLDER]`, `out/tarballs` by default. */
import { mkdirSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { pack, publishedPackages, root } from "./published.mjs";

const folder = resolve(process.argv[2] ?? join(root, "out", "tarballs"));
mkdirSync(folder, { recursive: true });
for (const one of publishedPackages()) console.log(relative(process.cwd(), pack(one, folder)));
