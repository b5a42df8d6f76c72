import { LongshoreError } from "@longshore/core";
import { providerName } from "@longshore/engine";
import { checkProviderNames } from "../engine/device-engines.ts";
import { Option } from "commander";

/** The option `--providers`. */
export function providersOption(): Option {
  return new Option(
    "--providers <list>",
    "execution providers to try for each model, in this order, such as cuda,cpu (default: cpu)",
  ).argParser(providersFrom);
}

/** Reads `cuda,cpu`. Throws `invalid-input` for what is no execution provider, and for one that is named twice. */
function providersFrom(text: string): readonly string[] {
  const names = text.split(",").map((one) => one.trim());
  const wrong = names.find((one) => !providerName.test(one));
  if (wrong === undefined && new Set(names).size === names.length) {
    checkProviderNames(names);
    return names;
  }
  throw new LongshoreError(
    "invalid-input",
    "resolve",
    `--providers wants names with commas between, each once, such as cuda,cpu, not '${text.slice(0, 80)}'`,
  );
}
