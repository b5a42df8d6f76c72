import { LongshoreError } from "@longshore/core";
import type { Command } from "commander";
import type { ServeOptions } from "../compose/serve.ts";

/** Options of `longshore serve` about extensions of the protocol that are off unless they are wanted. */
export interface TritonOptions {
  readonly sharedMemory?: string;
  readonly forwardHeaders?: string;
  readonly modelUploads: boolean;
}

/** Adds them. */
export function tritonOptions(command: Command): Command {
  return command
    .option("--shared-memory <prefix>", "allow shared memory under keys with this prefix; '/' for any")
    .option(
      "--forward-headers <pattern>",
      "regular expression of request headers that models get as parameters",
    )
    .option("--model-uploads", "allow loads that contain the model's files", false);
}

/** The longest pattern; it is matched against every header of every request. */
const maxPattern = 200;

function patternOf(text: string): RegExp {
  try {
    if (text.length <= maxPattern) return new RegExp(`^(?:${text})$`);
  } catch {
    // Said below.
  }
  throw new LongshoreError(
    "invalid-input",
    "resolve",
    `--forward-headers wants a regular expression of at most ${maxPattern} characters`,
  );
}

/** The options for a server. */
export function tritonServeOptions(options: TritonOptions): Partial<ServeOptions> {
  const { sharedMemory, forwardHeaders, modelUploads } = options;
  return {
    modelUploads,
    ...(sharedMemory === undefined ? {} : { sharedMemoryPrefix: sharedMemory.replace(/^\//, "") }),
    ...(forwardHeaders === undefined ? {} : { forwardHeaders: patternOf(forwardHeaders) }),
  };
}
