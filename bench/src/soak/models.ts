import { cp, mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { tritonModels } from "@longshore/testkit/triton-models";

/** A model of the soak with a request that it answers. */
export interface SoakModel {
  readonly name: string;
  /** The body of an inference in the protocol's JSON. */
  readonly body: string;
}

const zeros = (count: number): readonly number[] => Array.from({ length: count }, () => 0);
const input = (name: string, datatype: string, shape: readonly number[]): object => ({
  name,
  datatype,
  shape,
  data: zeros(shape.reduce((product, size) => product * size, 1)),
});
const body = (...inputs: readonly object[]): string => JSON.stringify({ inputs });

/**
 * A repository with a recogniser of text (11 MB), a detector of voice with state, and a small model that is not trusted,
 * which runs in a process of its own.
 */
export async function soakRepository(): Promise<{
  readonly folder: string;
  readonly models: readonly SoakModel[];
}> {
  const folder = await mkdtemp(join(tmpdir(), "longshore-soak-"));
  const samples = join(dirname(fileURLToPath(import.meta.resolve("@longshore/samples"))), "..", "repository");
  for (const name of ["ocr-recognise", "vad"]) {
    // Links into a store of packages are copied as the files that they are.
    await cp(join(samples, name), join(folder, name), { recursive: true, dereference: true });
  }
  await mkdir(join(folder, "guest", "1"), { recursive: true });
  await writeFile(join(folder, "guest", "model.yaml"), "trusted: false\n");
  const identity = tritonModels()["identity_fp32/1/model.onnx"];
  if (identity === undefined) throw new Error("the identity model is missing");
  await writeFile(join(folder, "guest", "1", "model.onnx"), identity);
  return {
    folder,
    models: [
      { name: "ocr-recognise", body: body(input("x", "FP32", [1, 3, 48, 160])) },
      {
        name: "vad",
        body: body(input("input", "FP32", [1, 576]), { ...input("sr", "INT64", []), data: [16_000] }),
      },
      { name: "guest", body: body(input("INPUT0", "FP32", [1, 16])) },
    ],
  };
}
