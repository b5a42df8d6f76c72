import { float32View, LongshoreError, type Tensors, textElements } from "@longshore/core";
import type { SampleFile, SamplesPackage } from "../engine/samples.ts";

/** How an answer compares with what is known to be right. */
export interface AnswerVerdict {
  readonly words: string;
  /** 0..1. */
  readonly rightRatio: number;
}

/** Lines that the recogniser is less sure of are left out, as PaddleOCR does. */
const leastConfidence = 0.5;
/** Kinds of faults in the order of the detector's outputs. */
const kinds = ["spikes", "drift", "stuck", "noise", "resonance"] as const;

function value(outputs: Tensors, name: string): NonNullable<ReturnType<Tensors["get"]>> {
  const tensor = outputs.get(name);
  if (!tensor) throw new LongshoreError("bad-reply", "decode", `the answer has no ${name}`);
  return tensor;
}

/** Judges an answer of one of the sample models. */
export function judgeAnswer(
  model: string,
  outputs: Tensors,
  sample: SampleFile,
  samples: SamplesPackage,
): AnswerVerdict {
  if (model === "anomaly") {
    const healthy = (float32View(value(outputs, "score"))[0] ?? 0) < 0.5;
    const likely = [...float32View(value(outputs, "kinds"))];
    const kind = healthy ? "healthy" : (kinds[likely.indexOf(Math.max(...likely))] ?? "unknown");
    const truth = sample.truth.fault?.kind ?? "healthy";
    // A fault that is found but called by another's name is a wrong answer, as it would be to the person who mends the machine.
    return { words: kind === truth ? kind : `${kind} (is ${truth})`, rightRatio: kind === truth ? 1 : 0 };
  }
  const sure = float32View(value(outputs, "confidence"));
  const read = textElements(value(outputs, "text")).filter((_line, at) => (sure[at] ?? 0) >= leastConfidence);
  const rightRatio = samples.ocrAccuracy(sample.truth.lines ?? [], read);
  return { words: `${(100 * rightRatio).toFixed(1)} % of text`, rightRatio };
}

/** Whether the voice detector takes a frame for speech. */
export function isSpeech(outputs: Tensors): boolean {
  return (float32View(value(outputs, "output"))[0] ?? 0) > 0.5;
}
