import type { CheckOptions, OffloadDefaults } from "@longshore/core";
import type { Command } from "commander";
import { openModel } from "../engine/open-model.ts";
import { goldenFrom } from "../engine/golden-source.ts";

/** Options about checking the answers of other servers. */
export interface CheckCommandOptions {
  readonly checkRatio: number;
  readonly golden?: string;
  readonly confirm: boolean;
}

/** Adds them. */
export function checkOptions(
  command: Command,
  number: (name: string, least: number) => (text: string) => number,
): Command {
  return command
    .option(
      "--check-ratio <ratio>",
      "share of requests that also run at a second server; 0 for none",
      number("check-ratio", 0),
      0.01,
    )
    .option(
      "--golden <folder>",
      "repository with golden.json files (longshore golden); servers that answer them wrongly are quarantined",
    )
    .option(
      "--confirm",
      "return only answers that two endpoints gave; doubles the work, and fails if no second one is allowed",
      false,
    );
}

/** Their demand on every request. */
export function confirmOf({ confirm }: CheckCommandOptions): { readonly defaults?: OffloadDefaults } {
  return confirm ? { defaults: { confirm } } : {};
}

/** The checks that an offloader gets. */
export async function checksOf({ checkRatio, golden }: CheckCommandOptions): Promise<CheckOptions> {
  return {
    sampleRatio: Math.min(1, checkRatio),
    ...(golden === undefined ? {} : { golden: goldenFrom((await openModel(golden)).store) }),
  };
}
