import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { installed } from "./cache.ts";
import { must } from "./run.ts";
import { quantiser } from "./tools.ts";

const script = fileURLToPath(new URL("../../python/quantise.py", import.meta.url));

/** An input of a network: FP32, as raw bytes in a file. */
export interface QuantiseInput {
  readonly file: string;
  readonly shape: readonly number[];
}

/** The model to quantise, and the inputs that judge it. */
export interface QuantiseRequest {
  /** Path of the ONNX file, and the name of its one input. */
  readonly model: string;
  readonly input: string;
  /** Values of the first output above it are what the network finds. */
  readonly threshold: number;
  /** Writes inputs into a folder: every second one calibrates, the others judge. */
  inputs(folder: string): Promise<readonly QuantiseInput[]>;
}

/** A network in 8 bits. */
export interface Quantised {
  readonly file: string;
  /** The intersection over the union of what both find, on average over inputs that it was not calibrated on. */
  readonly agreementRatio: number;
}

/**
 * A static int8 version of a network by Python's `onnxruntime.quantization`, made once and kept in the cache. Throws
 * `Unavailable`.
 */
export async function quantise(request: QuantiseRequest): Promise<Quantised> {
  const tools = await quantiser();
  const { model, input, threshold } = request;
  const digest = async (path: string): Promise<string> =>
    createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
  const folder = await installed({
    name: "int8",
    contents: [tools.folder, await digest(model), await digest(script), input, `${threshold}`],
    async make(into) {
      const inputs = await request.inputs(into);
      const plan = {
        model,
        input,
        threshold,
        prepared: join(into, "prepared.onnx"),
        int8: join(into, "model.onnx"),
        calibration: inputs.filter((_, index) => index % 2 === 0),
        heldOut: inputs.filter((_, index) => index % 2 === 1),
      };
      await writeFile(join(into, "plan.json"), JSON.stringify(plan));
      const printed = await must(tools.python, [script, join(into, "plan.json")]);
      await writeFile(join(into, "agreement.json"), printed.trim().split("\n").at(-1) ?? "");
    },
  });
  const { agreement } = JSON.parse(await readFile(join(folder, "agreement.json"), "utf8")) as {
    agreement: readonly number[];
  };
  return {
    file: join(folder, "model.onnx"),
    agreementRatio: agreement.reduce((sum, one) => sum + one, 0) / agreement.length,
  };
}
