import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { housekeepingCall } from "@longshore/core/internal";
import { graphAnswers, meanAgreement, quantizeModel, readModel } from "@longshore/graph";
import { onnxRuntime } from "@longshore/nodejs";
import { fedNetworks, pixelAgreement } from "./ocr-networks.ts";

/** Agreement on the images that ranges come from, which layers are left out for. */
const wantedRatio = 0.98;

/** The detector in 8 bits. */
interface Int8Detector {
  /** Agreement with the original on images that no range came from. */
  readonly agreementRatio: number;
}

/** Puts the text detector in 8 bits into a file, made by our quantiser (`longshore quantize`) unless it is there. */
export async function int8Detector(file: string, say: (line: string) => void): Promise<Int8Detector> {
  const call = housekeepingCall("bench-int8");
  const model = "ocr-detect";
  const runtime = onnxRuntime();
  try {
    if (!existsSync(file)) {
      const fed = (await fedNetworks([model], "calibrating")).get(model);
      if (!fed) throw new Error(`the samples have no ${model}`);
      const made = await quantizeModel(
        {
          file: fed.file,
          inputs: fed.feeds,
          runtime,
          agreement: pixelAgreement,
          agreementRatio: wantedRatio,
          progress: (text) => say(`  detect-int8: ${text}`),
        },
        call,
      );
      await writeFile(file, made.file);
    }
    const held = (await fedNetworks([model], "judging")).get(model);
    if (!held) throw new Error(`the samples have no ${model}`);
    const expected = await graphAnswers(readModel(held.file), held.feeds, runtime, call);
    const small = readModel(new Uint8Array(await readFile(file)));
    const answers = await graphAnswers(small, held.feeds, runtime, call);
    return { agreementRatio: meanAgreement(answers, expected, pixelAgreement) };
  } finally {
    await runtime.close();
  }
}
