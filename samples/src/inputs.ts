import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inputsFolder } from "./folders.ts";

/** The known facts of an input; each kind has its own fields. */
export interface Truth {
  /** Lines of text that a person reads in an image. */
  readonly lines?: readonly string[];
  /** BCP 47 tag of the text. */
  readonly language?: string;
  /** The fault in a window of readings; null without one. */
  readonly fault?: { readonly kind: string; readonly from: number; readonly to: number } | null;
  /** Frames of a sound that are speech with the state kept, and how many frames there are. */
  readonly speechFrames?: number;
  readonly frames?: number;
}

/** One input of demo and tests. */
export interface SampleInput {
  /** Path inside the folder of inputs, such as `images/receipt-1.jpg`. */
  readonly file: string;
  /** The same file as an absolute path. */
  readonly path: string;
  readonly kind: "image" | "sound" | "text" | "series" | "request";
  /** Models that take it as it is (`vad` takes the sound in frames of 512 samples, each led by the 64 before it). */
  readonly models: readonly string[];
  /** Made by a script of this package and labelled so; false for what a camera, scanner or microphone recorded. */
  readonly made: boolean;
  readonly truth: Truth;
}

/** The fields of an input in a file of truths. */
type Written = Omit<SampleInput, "path">;

const truths = ".truth.json";

/** All sample inputs with what is known to be right about them, folder by folder in the order of `<folder>.truth.json`. */
export function sampleInputs(): readonly SampleInput[] {
  const files = readdirSync(inputsFolder).filter((file) => file.endsWith(truths));
  return files.sort().flatMap((file) => {
    // Written by this package's own scripts; the tests check every entry against the files.
    const written = JSON.parse(readFileSync(join(inputsFolder, file), "utf8")) as readonly Written[];
    return written.map((one) => ({ ...one, path: join(inputsFolder, one.file) }));
  });
}
