import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { numericTensor, type PortSpec } from "@longshore/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeNpy } from "./npy.ts";
import { readInputFiles } from "./read-inputs.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-inputs-"));
  await writeFile(
    join(folder, "double.npy"),
    writeNpy(numericTensor("x", "FP64", [2], Float64Array.of(1, 2))),
  );
  await writeFile(join(folder, "x.json"), "[1, 2]");
});
afterAll(() => rm(folder, { recursive: true }));

const ports: readonly PortSpec[] = [{ name: "x", datatype: "FP32", shape: [2] }];

describe("inputs from files", () => {
  it("are refused when one is given twice, by name or without", async () => {
    const file = join(folder, "x.json");
    expect((await readInputFiles([file], ports, new Map()))["x"]?.spec.shape).toEqual([2]);
    for (const given of [
      [file, file],
      [`x=${file}`, file],
    ]) {
      await expect(readInputFiles(given, ports, new Map())).rejects.toMatchObject({
        reason: "invalid-input",
        message: expect.stringContaining("would be a second x: FP32 [2]") as string,
      });
    }
  });

  it.each([
    ["UINT8", "300", "x is UINT8; 300 is beyond its 0 to 255"],
    ["UINT32", "-1", "x is UINT32; -1 is beyond its 0 to 4294967295"],
    ["INT8", "-129", "x is INT8; -129 is beyond its -128 to 127"],
    ["INT16", "0.5", "x is INT16; 0.5 is not a whole number"],
    ["INT64", "9007199254740993", "may have lost digits"],
    ["BOOL", "2", "x is BOOL; 2 is neither 0 nor 1"],
    ["FP16", "70000", "x is FP16; 70000 is beyond its range"],
    ["FP32", "1e39", "x is FP32; 1e+39 is beyond its range"],
  ] as const)("are refused when a number is none of %s: %s", async (datatype, number, told) => {
    const file = join(folder, "number.json");
    await writeFile(file, `[${number}]`);
    await expect(readInputFiles([file], [{ name: "x", datatype, shape: [-1] }], new Map())).rejects.toThrow(
      told,
    );
  });

  it("are refused when arrays nest without end", async () => {
    const file = join(folder, "deep.json");
    await writeFile(file, "[".repeat(20_000) + "]".repeat(20_000));
    await expect(readInputFiles([file], ports, new Map())).rejects.toThrow("nest deeper than 64 levels");
  });

  it("say how to save NumPy's default types", async () => {
    await expect(readInputFiles([join(folder, "double.npy")], ports, new Map())).rejects.toThrow(
      "x: FP32 [2] was wanted, but the file holds FP64 [2]; save array.astype(np.float32)",
    );
  });
});
