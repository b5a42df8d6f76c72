/** The README's first screen runs as printed. */
import { execFile } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");

it("the first program of the README prints the shown output", async () => {
  const text = await readFile(join(root, "README.md"), "utf8");
  const [, program, printed] = /```ts\n([\s\S]*?)```[\s\S]*?```\n([\s\S]*?)```/.exec(text) ?? [];
  const file = join(root, "packages/longshore/dist/readme-program.mjs");
  await writeFile(file, program ?? "");
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [file], { cwd: root });
    expect(stdout).toBe(printed);
    expect(stderr).toMatch(/^device, because /);
  } finally {
    await rm(file, { force: true });
  }
});

it("the program of the guide to streams prints the shown output", async () => {
  const text = await readFile(join(root, "docs/guides/streams.md"), "utf8");
  const [, program, printed] = /```ts\n([\s\S]*?)```[\s\S]*?```\n([\s\S]*?)```/.exec(text) ?? [];
  const file = join(root, "packages/longshore/dist/streams-program.mjs");
  await writeFile(file, program ?? "");
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [file], { cwd: root });
    expect(stdout).toBe(printed);
  } finally {
    await rm(file, { force: true });
  }
});

it("npx finds the command after the installation, which comes before the build", async () => {
  const { stdout } = await promisify(execFile)(join(root, "node_modules/.bin/longshore"), ["--help"]);
  expect(stdout).toMatch(/^Usage: longshore /);
});

it("the README names commands and scripts that exist", async () => {
  const text = await readFile(join(root, "README.md"), "utf8");
  const { stdout: help } = await promisify(execFile)(join(root, "node_modules/.bin/longshore"), ["--help"]);
  for (const [, name] of text.matchAll(/npx longshore (\w+)/g))
    expect(help).toMatch(new RegExp(`^  ${name!} `, "m"));
  const { scripts } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  for (const [, name] of text.matchAll(/npm run ([\w:]+)/g)) expect(scripts).toHaveProperty(name!);
});
