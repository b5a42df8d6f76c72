import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { verdictFolder } from "./verdict-folder.ts";

const folder = await mkdtemp(join(tmpdir(), "longshore-verdicts-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

it("keeps verdicts by key; an unreadable one is absent, and a folder that cannot be written changes nothing", async () => {
  const inner = join(folder, "batching");
  const verdicts = verdictFolder(inner);
  expect(await verdicts.read("a native 1 cpu")).toBeUndefined();
  await verdicts.write("a native 1 cpu", { maxRows: 32, because: "equal answers, and it pays" });
  expect(await verdicts.read("a native 1 cpu")).toEqual({
    maxRows: 32,
    because: "equal answers, and it pays",
  });
  expect(await verdicts.read("a native 2 cpu")).toBeUndefined();
  const [file = ""] = await readdir(inner);
  for (const text of [
    "",
    "{",
    `{"key":"a native 1 cpu","maxRows":0,"because":"it does not pay"}`,
    `{"maxRows":8}`,
  ]) {
    await writeFile(join(inner, file), text);
    expect(await verdicts.read("a native 1 cpu")).toBeUndefined();
  }
  const nowhere = verdictFolder(join(inner, file, "below-a-file"));
  await nowhere.write("a", { maxRows: 1, because: "it does not pay" });
  expect(await nowhere.read("a")).toBeUndefined();
});
