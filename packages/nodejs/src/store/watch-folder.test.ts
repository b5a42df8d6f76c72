import { watchModels } from "@longshore/engine";
import { manualClock } from "@longshore/testkit";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { folderStore } from "./folder-store.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "longshore-watch-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function put(path: string, text: string, second = 1): void {
  const file = join(folder, path);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, text);
  // Times are set, so that the test does not depend on how fast it runs.
  utimesSync(file, second, second);
}

it("a watch over a real folder sees files that grow, that are replaced by others of the same size, and that go", async () => {
  put("old/1/model.onnx", "a");
  const told: string[] = [];
  using watch = await watchModels({
    store: folderStore(folder),
    clock: manualClock(),
    intervalMs: 1000,
    changed: (model) => Promise.resolve(void told.push(`+${model}`)),
    removed: (model) => Promise.resolve(void told.push(`-${model}`)),
    failed: (model, thrown) => void told.push(`!${model} ${String(thrown)}`),
  });
  put("new/1/model.onnx", "ab", 2);
  await watch.look();
  put("new/1/model.onnx", "abcd", 3);
  await watch.look();
  expect(told).toEqual([]);
  await watch.look();
  expect(told.splice(0)).toEqual(["+new"]);

  put("old/1/model.onnx", "b", 4);
  await watch.look();
  await watch.look();
  expect(told.splice(0)).toEqual(["+old"]);

  put("old/.hidden", "x", 5);
  put("old/1/model.onnx.tmp", "half", 5);
  symlinkSync("/etc", join(folder, "old", "elsewhere"));
  await watch.look();
  await watch.look();
  expect(told).toEqual([]);

  rmSync(join(folder, "new"), { recursive: true });
  await watch.look();
  await watch.look();
  expect(told).toEqual(["-new"]);
});
