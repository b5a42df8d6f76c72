import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { command } from "../../test/command.ts";

const folders: string[] = [];

afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

interface Found {
  readonly what: string;
  readonly ok: boolean;
  readonly detail: string;
}

async function findings(
  ...folder: readonly string[]
): Promise<{ code: number | undefined; found: readonly Found[] }> {
  const { code, out } = await command("doctor", "--json", ...folder.flatMap((one) => ["--folder", one]));
  return { code, found: (JSON.parse(out) as { findings: Found[] }).findings };
}

it("reports versions, the optional runtime and usable folders", async () => {
  const folder = await mkdtemp(join(tmpdir(), "longshore-doctor-test-"));
  folders.push(folder);
  const { code, found } = await findings(folder);
  const of = (what: string) => found.find((one) => one.what === what);
  expect(of("versions")?.detail).toMatch(/onnxruntime-node \d+\.\d+\.\d+, sharp \d+\.\d+\.\d+, undici 7\./);
  if (process.platform === "linux") expect(of("provider cuda")).toMatchObject({ ok: true });
  expect(of("wasm")?.detail).toMatch(/loads and runs/);
  expect(of("temporary folder")?.ok).toBe(true);
  expect(of(folder)).toMatchObject({
    ok: true,
    detail: expect.stringMatching(/^readable and writable, mode 700, .* free$/),
  });
  expect(code).toBe(0);
});

it("names a folder that is absent, or is a file, and the remedy", async () => {
  const folder = await mkdtemp(join(tmpdir(), "longshore-doctor-test-"));
  folders.push(folder);
  const file = join(folder, "file");
  await writeFile(file, "");
  const gone = join(folder, "gone");
  const { code, found } = await findings(gone, file);
  expect(found.filter(({ ok }) => !ok)).toEqual([
    { what: gone, ok: false, detail: "there is no such folder; make it, or name another" },
    { what: file, ok: false, detail: "it is a file; a folder is needed" },
  ]);
  expect(code).toBe(1);
});
