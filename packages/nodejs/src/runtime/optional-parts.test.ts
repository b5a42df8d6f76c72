import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterEach, expect, it } from "vitest";
import { hasWasm } from "./optional-parts.ts";

const here = fileURLToPath(new URL("../../", import.meta.url));
const top = dirname(dirname(here));
const folders: string[] = [];

afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

/** This package as it is published, in a folder whose packages are all there but the optional one. */
async function withoutWasm(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "longshore-optional-"));
  folders.push(folder);
  const modules = join(folder, "node_modules");
  await mkdir(join(modules, "@longshore"), { recursive: true });
  await cp(join(here, "package.json"), join(modules, "@longshore/nodejs/package.json"));
  await cp(join(here, "dist"), join(modules, "@longshore/nodejs/dist"), { recursive: true });
  for (const name of ["core", "engine"]) {
    await symlink(join(top, "packages", name), join(modules, "@longshore", name));
  }
  for (const name of await readdir(join(top, "node_modules"))) {
    if (name.startsWith(".") || name.startsWith("@longshore") || name === "onnxruntime-web") continue;
    await symlink(join(top, "node_modules", name), join(modules, name));
  }
  return pathToFileURL(join(modules, "@longshore/nodejs/dist/index.js")).href;
}

const script = `
const { hasWasm, wasmRuntime } = await import(process.argv[2]);
const runtime = wasmRuntime();
const bytes = new Uint8Array(8);
const artifact = { digest: "0", byteLength: 8, bytes: () => Promise.resolve(bytes) };
const call = { id: "t", abort: new AbortController().signal };
const { reason, message } = await runtime.load(artifact, {}, call).catch((thrown) => thrown);
console.log(JSON.stringify({ has: hasWasm(), reason, message }));
await runtime.close();
`;

it("loads without the optional package, and an error says how to add it", async () => {
  const entry = await withoutWasm();
  const file = join(fileURLToPath(new URL("../../../../", entry)), "load.mjs");
  await writeFile(file, script);
  const { stdout } = await promisify(execFile)(process.execPath, [file, entry]);
  const { has, reason, message } = JSON.parse(stdout) as Record<string, unknown>;
  expect({ has, reason }).toEqual({ has: false, reason: "unsupported" });
  expect(message).toContain("npm install onnxruntime-web@1.30.0");
}, 60_000);

it("is found where it is installed", () => {
  expect(hasWasm()).toBe(true);
});
