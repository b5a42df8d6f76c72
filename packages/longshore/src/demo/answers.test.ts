import { float32Tensor, tensorsOf } from "@longshore/core";
import { expect, it } from "vitest";
import type { SampleFile, SamplesPackage } from "../engine/samples.ts";
import { judgeAnswer } from "./answers.ts";

const samples: SamplesPackage = {
  sampleRepository: () => "",
  sampleInputs: () => [],
  ocrAccuracy: () => 1,
};

function verdict(score: number, kinds: readonly number[], fault: string | null) {
  const sample: SampleFile = {
    file: "sensor/window.npy",
    path: "",
    kind: "sensor",
    models: [],
    made: true,
    truth: { fault: fault === null ? null : { kind: fault } },
  };
  const outputs = tensorsOf(
    float32Tensor("score", [1, 1], Float32Array.of(score)),
    float32Tensor("kinds", [1, 5], Float32Array.from(kinds)),
  );
  return judgeAnswer("anomaly", outputs, sample, samples);
}

it("counts a fault with another's name as wrong, and names it", () => {
  expect(verdict(0.9, [0.9, 0, 0, 0, 0.2], "spikes")).toEqual({ words: "spikes", rightRatio: 1 });
  expect(verdict(0.68, [0.64, 0, 0, 0, 0.68], "spikes")).toEqual({
    words: "resonance (is spikes)",
    rightRatio: 0,
  });
  expect(verdict(0.3, [0.3, 0, 0, 0, 0], null)).toEqual({ words: "healthy", rightRatio: 1 });
  expect(verdict(0.3, [0.3, 0, 0, 0, 0], "drift")).toEqual({ words: "healthy (is drift)", rightRatio: 0 });
});
