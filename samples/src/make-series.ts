/**
 * Makes the sample windows of sensor readings (synthetic, as .npy) and the recommendation requests: `node
 * samples/dist/make-series.js`, by hand. Seeded: the same files come out.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "@longshore/core";
import { bytesOf, gaussian } from "@longshore/core/internal";
import { channels, faultKinds, heldOutSeed, plant, plantSeed, windowSteps } from "./anomaly/series.ts";
import { inputsFolder } from "./folders.ts";
import { recommendationSizes } from "./recommendation.ts";

/** A NumPy file (format 1.0) of little-endian FP32. */
function npy(values: Float32Array, shape: readonly number[]): Uint8Array {
  const before = 10;
  const words = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`;
  const padded = Math.ceil((before + words.length + 1) / 64) * 64;
  const file = new Uint8Array(padded + values.byteLength);
  file.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0]);
  new DataView(file.buffer).setUint16(8, padded - before, true);
  file.set(new TextEncoder().encode(`${words.padEnd(padded - before - 1)}\n`), before);
  file.set(bytesOf(values), padded);
  return file;
}

function written(folder: string, truth: readonly object[]): void {
  writeFileSync(join(inputsFolder, `${folder}.truth.json`), `${JSON.stringify(truth, null, 2)}\n`);
}

mkdirSync(join(inputsFolder, "sensor"), { recursive: true });
const machine = plant(plantSeed);
const windows = [
  ["healthy-1", undefined],
  ["healthy-2", undefined],
  ...faultKinds.map((kind) => [kind, kind] as const),
] as const;
written(
  "sensor",
  windows.map(([name, kind], index) => {
    const { values, fault } = machine.series(seededRandom(heldOutSeed * 1000 + index), windowSteps, kind);
    const file = `sensor/${name}.npy`;
    writeFileSync(join(inputsFolder, file), npy(values, [1, channels, windowSteps]));
    return { file, kind: "series", models: ["anomaly"], made: true, truth: { fault: fault ?? null } };
  }),
);

mkdirSync(join(inputsFolder, "recommendation"), { recursive: true });
const { users, items, history, context, candidates } = recommendationSizes;
written(
  "recommendation",
  [1, 2, 3].map((number) => {
    const random = seededRandom(number);
    const whole = (count: number, below: number): readonly number[] =>
      Array.from({ length: count }, () => Math.floor(random.next() * below));
    const request = {
      user: whole(1, users),
      history: [whole(history, items)],
      context: [Array.from({ length: context }, () => Math.round(gaussian(random) * 1000) / 1000)],
      candidates: [whole(candidates, items)],
    };
    const file = `recommendation/request-${number}.json`;
    writeFileSync(join(inputsFolder, file), `${JSON.stringify(request)}\n`);
    return { file, kind: "request", models: ["recommendation"], made: true, truth: {} };
  }),
);
