import { LongshoreError } from "@longshore/core";
import { Option } from "commander";

/** The option `--allow-classes`. */
export function allowClassesOption(): Option {
  return new Option(
    "--allow-classes <list>",
    "data classes of requests that run here, such as public,internal; others, and requests without one, are refused (default: the sender's policy decides)",
  ).argParser(classesFrom);
}

/** Reads `public,internal`. Throws `invalid-input` for an empty name: a list that holds it would allow requests by mistake. */
function classesFrom(text: string): readonly string[] {
  const names = text.split(",").map((one) => one.trim());
  if (names.every((one) => one !== "" && one !== "unknown")) return names;
  throw new LongshoreError(
    "invalid-input",
    "resolve",
    `--allow-classes wants names with commas between, such as public,internal, not '${text.slice(0, 80)}'`,
  );
}
