import type { Command, Option } from "commander";
import type { NumberReader } from "../options/define.ts";
import type { Schema } from "../settings/schema.ts";

/** Units of options, by the word in angle brackets. */
const units: Readonly<Record<string, string>> = {
  bytes: "bytes",
  s: "seconds",
  ms: "milliseconds",
  micros: "micros",
};

function isNumberReader(parse: unknown): parse is NumberReader {
  return typeof parse === "function" && "least" in parse && "most" in parse;
}

function valueSchema(option: Option): Schema {
  const { parseArg, argChoices, defaultValue } = option;
  const placeholder = /<([^>]+)>/.exec(option.flags)?.[1] ?? "";
  if (!option.required && !option.optional) return { type: "boolean" };
  if (argChoices) return { type: "string", enum: argChoices };
  if (isNumberReader(parseArg)) {
    const unit = units[placeholder];
    return {
      type: parseArg.whole ? "integer" : "number",
      ...(parseArg.least === -Infinity ? {} : { minimum: parseArg.least }),
      ...(parseArg.most < Number.MAX_VALUE ? { maximum: parseArg.most } : {}),
      ...(unit === undefined ? {} : { title: unit }),
    };
  }
  const text: Schema = {
    type: "string",
    minLength: 1,
    ...(placeholder === "file" || placeholder === "folder" ? { format: "path" } : {}),
    ...(placeholder === "where" && option.attributeName() === "directory"
      ? { format: "path-or-address" }
      : {}),
  };
  return Array.isArray(defaultValue) ? { type: "array", items: text } : text;
}

/** The schema of one option, by its attribute; undefined when no command has it. */
export function optionSchema(commands: readonly Command[], attribute: string): Schema | undefined {
  const found = commands.flatMap(({ options }) =>
    options.filter((option) => option.attributeName() === attribute),
  );
  const option = found.find(({ negate }) => !negate) ?? found[0];
  if (!option) return undefined;
  const schema = valueSchema(option);
  const isOff = found.some(({ negate }) => negate) && !option.negate;
  const value = option.negate ? true : option.defaultValue;
  const isStated = value !== undefined && !(Array.isArray(value) && value.length === 0);
  const described = {
    description: option.negate ? `false: ${option.description}` : option.description,
    ...(isStated ? { default: value } : {}),
  };
  // An option with a `--no-` form can be switched off.
  return isOff ? { anyOf: [schema, { const: false }], ...described } : { ...schema, ...described };
}
