import type { Objective, Only } from "@longshore/core";
import { isObjective, readObjective } from "@longshore/core/internal";
import { type Command, CommanderError, Option } from "commander";
import { atKindOption, type AtOptions, atOptions } from "../options/at-options.ts";
import { collect, number } from "../options/define.ts";
import { atPriceOption } from "../options/price-options.ts";
import { inTimeText, objectiveText } from "../options/objective-text.ts";
import { pullOptions } from "./define-package.ts";
import { type DirectoryCommandOptions, directoryOptions } from "../options/directory-options.ts";
import type { PullCommandOptions } from "./package.ts";
import { providersOption } from "../options/provider-options.ts";

/** `--input`, `--at` and related options, shared by the commands that run or plan an inference. */
export interface RequestOptions extends DirectoryCommandOptions, PullCommandOptions, AtOptions {
  readonly config?: string;
  readonly input: readonly string[];
  readonly runtime: "onnxruntime" | "wasm";
  readonly providers?: readonly string[];
  readonly deadline?: number;
  readonly objective: Objective;
  readonly inTime?: number;
  readonly maxCostMicros?: number;
  readonly dataClass?: string;
  readonly zone: readonly string[];
  readonly only?: Only;
  readonly prefer?: Only;
  readonly variant?: string;
  readonly agreement?: number;
  readonly mean?: string;
  readonly std?: string;
  readonly side?: number;
  readonly json: boolean;
}

/** Adds them. */
export function requestOptions(command: Command): Command {
  return pullOptions(directoryOptions(atPriceOption(atOptions(command))), false)
    .option("-i, --input <name=file>", "an input; repeat for several", collect, [])
    .option(
      "--config <file>",
      "longshore.yaml whose policy holds, and whose endpoints are considered without --at",
    )
    .option("--at <url>", "a server to consider; repeat for several", collect, [])
    .addOption(atKindOption())
    .addOption(
      new Option("--runtime <name>", "runtime of this device")
        .choices(["onnxruntime", "wasm"])
        .default("onnxruntime"),
    )
    .addOption(providersOption())
    .option("--deadline <ms>", "deadline in milliseconds", number("deadline", 0))
    .option("--objective <name>", objectiveText, objective, "latency")
    .option("--in-time <ratio>", inTimeText, number("in-time", 0, 1))
    .option(
      "--max-cost-micros <n>",
      "the most that the request may cost, in micros; a server without a known price is not used",
      number("max-cost-micros", 0),
    )
    .option("--data-class <class>", "class of the input: public, internal, personal, restricted")
    .option("--zone <zone>", "allowed zone; repeat for several", collect, [])
    .option("--only <where>", "run only there: device, edge, cloud, or the id of an endpoint", where)
    .option("--prefer <where>", "run there if all limits can be kept: device, edge, cloud, or an id", where)
    .option("--variant <name>", "variant of the model to use")
    .option(
      "--agreement <ratio>",
      "least agreement with the exact answer, 0 to 1 (default 0.995)",
      number("agreement", 0, 1),
    )
    .option("--mean <r,g,b>", "image inputs: mean to subtract, after scaling to 0..1")
    .option("--std <r,g,b>", "image inputs: deviation to divide by")
    .option(
      "--side <pixels>",
      "image inputs: side if the model leaves it free (default 224)",
      number("side", 1),
    )
    .option("--json", "print JSON", false);
}

/** Reads `--only` and `--prefer`. */
function where(text: string): Only {
  return text === "device" || text === "edge" || text === "cloud" ? text : { endpoint: text };
}

/** Reads `--objective`. */
function objective(text: string): Objective {
  if (isObjective(text)) return text;
  const read = readObjective(text);
  const why = typeof read === "string" ? read : "";
  throw new CommanderError(2, "longshore.option", `error: --objective ${text}: ${why}`);
}
