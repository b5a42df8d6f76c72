import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openModel } from "./open-model.ts";
import { singleFileStore } from "./single-file-store.ts";

const folder = mkdtempSync(join(tmpdir(), "longshore-single-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("reads the named file, also through a link, and does not wait at a pipe instead", async () => {
  const at = "m/1/model.onnx";
  writeFileSync(join(folder, "plain.onnx"), new Uint8Array([1, 2, 3]));
  symlinkSync(join(folder, "plain.onnx"), join(folder, "linked.onnx"));
  for (const name of ["plain.onnx", "linked.onnx"]) {
    expect(await singleFileStore("m", join(folder, name)).read(at)).toEqual(new Uint8Array([1, 2, 3]));
  }
  const pipe = join(folder, "pipe.onnx");
  execFileSync("sh", ["-c", 'mkfifo "$0"', pipe]);
  expect(await singleFileStore("m", pipe).read(at)).toBeUndefined();
  expect(await singleFileStore("m", join(folder, "absent.onnx")).read(at)).toBeUndefined();
  await expect(openModel(pipe)).rejects.toMatchObject({
    reason: "unknown-model",
    message: expect.stringContaining("neither a file nor a folder") as string,
  });
});
