import type { Command } from "commander";
import { LongshoreError } from "@longshore/core";
import { readTextFile } from "../connect/read-text.ts";
import { type ConfigurationFile, parseConfiguration } from "../settings/configuration-file.ts";
import { fileSchema } from "./file-schema.ts";
import { optionSchema } from "./option-schema.ts";
import { type ObjectSchema, problemOf, type Schema } from "../settings/schema.ts";
import { endpointOptions, sections } from "./settings.ts";
import type { Environment, Setting, Settled } from "../settings/settled.ts";

const repositoryPath = "models.repository";
const repositorySchema: Schema = { type: "string", minLength: 1 };

/** The name of the variable of an option. */
export function variableOf(attribute: string): string {
  return `LONGSHORE_${attribute.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** Variables of Longshore that stand for no option of a command. */
const otherVariables = ["LONGSHORE_REPOSITORY", "LONGSHORE_CONFIG", "LONGSHORE_DATA", "LONGSHORE_BELIEFS"];

/** Edits that turn one text into another: insertions, deletions, replacements, and exchanges of neighbours (Damerau 1964). */
function edits(from: string, to: string): number {
  let [before, last] = [[] as number[], Array.from({ length: to.length + 1 }, (_, at) => at)];
  for (let row = 1; row <= from.length; row++) {
    const next = [row];
    for (let at = 1; at <= to.length; at++) {
      const isSame = from[row - 1] === to[at - 1];
      const one = Math.min(
        (last[at] ?? 0) + 1,
        (next[at - 1] ?? 0) + 1,
        (last[at - 1] ?? 0) + (isSame ? 0 : 1),
      );
      const isExchange = from[row - 1] === to[at - 2] && from[row - 2] === to[at - 1];
      next.push(isExchange && row > 1 && at > 1 ? Math.min(one, (before[at - 2] ?? 0) + 1) : one);
    }
    [before, last] = [last, next];
  }
  return last[to.length] ?? 0;
}

/**
 * A warning for each variable `LONGSHORE_*` that is close to the name of a setting of `serve` or `gateway` and names none:
 * it is misspelt, and would be ignored silently. Others, such as those that Kubernetes sets for services, may belong to anything.
 */
export function misspeltVariables(command: Command, environment: Environment): string[] {
  const prefix = "LONGSHORE_";
  const known = new Set(otherVariables);
  for (const { options } of [command, ...servingCommands(command)]) {
    for (const option of options) known.add(variableOf(option.attributeName()));
  }
  const warnings: string[] = [];
  for (const [name, value] of Object.entries(environment)) {
    const isOurs = name.startsWith(prefix) && value !== undefined && !known.has(name);
    if (!isOurs || /_SERVICE_(HOST|PORT)|_PORT_\d+_/.test(name) || /^(tcp|udp|sctp):\/\//.test(value))
      continue;
    const most = name.length - prefix.length < 6 ? 1 : 2;
    const nearest = [...known]
      .map((one) => ({ one, count: edits(name, one) }))
      .reduce((best, next) => (next.count < best.count ? next : best));
    if (nearest.count > most) continue;
    warnings.push(`the variable ${name} is no setting and is ignored; did you mean ${nearest.one}?`);
  }
  return warnings;
}

/** A variable as the value that a schema describes; a value that does not fit stays text, and the schema refuses it. */
function valueOf(text: string, schema: Schema): unknown {
  if ("anyOf" in schema) {
    const found = schema.anyOf.map((one) => ({ one, value: valueOf(text, one) }));
    return found.find(({ one, value }) => !problemOf(one, value, []))?.value ?? text;
  }
  if ("const" in schema) return text === "false" ? false : text;
  switch (schema.type) {
    case "boolean":
      return text === "true" || text === "1" ? true : text === "false" || text === "0" ? false : text;
    case "number":
    case "integer":
      return text.trim() === "" ? text : Number.isNaN(Number(text)) ? text : Number(text);
    case "array":
      return text.split(/\s+/).filter((part) => part !== "");
    default:
      return text;
  }
}

/**
 * The variable of an option; undefined when it is not set. Kubernetes sets `LONGSHORE_PORT=tcp://10.0.0.1:8000` and similar
 * variables in every pod if a service has the name `longshore`: such a value is no setting.
 */
function fromEnvironment(environment: Environment, attribute: string, schema: Schema): unknown {
  const name = variableOf(attribute);
  const text = environment[name];
  if (text === undefined || /^(tcp|udp|sctp):\/\//.test(text)) return undefined;
  const value = valueOf(text, schema);
  const problem = problemOf(schema, value, [name]);
  if (problem) {
    throw new LongshoreError("invalid-configuration", "resolve", `the variable ${name} ${problem.message}`);
  }
  return value;
}

/** A text as the option's own parser reads it, where it has one besides those that the schema stands for. */
function parsedBy(command: Command, attribute: string, value: unknown, where: string): unknown {
  const option = command.options.find((one) => one.attributeName() === attribute && !one.negate);
  if (typeof value !== "string" || !option?.parseArg || option.argChoices) return value;
  try {
    return option.parseArg(value, undefined) as unknown;
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    throw new LongshoreError("invalid-configuration", "resolve", `${where}: ${message}`, { cause: thrown });
  }
}

/** The commands whose options the file describes. */
function servingCommands(command: Command): readonly Command[] {
  const siblings = command.parent?.commands ?? [command];
  return siblings.filter((one) => one.name() === "serve" || one.name() === "gateway");
}

/** The schema of the file, of a command beside `serve` and `gateway`. */
export function schemaFor(command: Command): ObjectSchema {
  return fileSchema(servingCommands(command));
}

/** `--at-...` of flags and variables mean nothing to endpoints of the file, which say all of this themselves. */
function refuseMixed(command: Command, environment: Environment, file: ConfigurationFile): void {
  const stray = endpointOptions.find(
    (attribute) =>
      attribute !== "at" &&
      (command.getOptionValueSource(attribute) === "cli" || environment[variableOf(attribute)] !== undefined),
  );
  if (stray === undefined) return;
  const flag = command.options.find((option) => option.attributeName() === stray)?.long ?? stray;
  const why = `${flag} is for the servers of --at, but the endpoints are those of ${file.where("endpoints")}: say it there, or give --at`;
  throw new LongshoreError("invalid-configuration", "resolve", why);
}

/**
 * Flags over the environment over the file over defaults, for a command that was parsed. Changes nothing at the command, so
 * that a file that changed can be settled again. Throws `invalid-configuration` with path and value of the problem.
 */
export async function settle(command: Command, environment: Environment): Promise<Settled> {
  const commands = servingCommands(command);
  const options: Record<string, unknown> = { ...command.opts() };
  const named = (options["config"] as string | undefined) ?? (environment["LONGSHORE_CONFIG"] || undefined);
  const file =
    named === undefined
      ? undefined
      : parseConfiguration(await readTextFile(named, "the configuration file"), named, fileSchema(commands));
  const settings: Setting[] = [];
  const note = (setting: Omit<Setting, "isUsed">, isUsed = true): void =>
    void settings.push({ ...setting, isUsed });

  const flagOf = (attribute: string): string =>
    command.options.find((option) => option.attributeName() === attribute)?.long ?? attribute;
  const settleOne = (attribute: string, path: readonly [string, string] | undefined): void => {
    const schema = optionSchema([command], attribute);
    const inFile = path && file?.at(...path);
    const text = path ? path.join(".") : attribute;
    if (!schema) {
      if (file && path && inFile !== undefined)
        note({ path: text, value: inFile, origin: "file", where: file.where(...path) }, false);
      return;
    }
    if (command.getOptionValueSource(attribute) === "cli") {
      note({ path: text, value: options[attribute], origin: "flag", where: flagOf(attribute) });
      return;
    }
    const inEnvironment = fromEnvironment(environment, attribute, schema);
    if (inEnvironment !== undefined) {
      options[attribute] = parsedBy(
        command,
        attribute,
        inEnvironment,
        `the variable ${variableOf(attribute)}`,
      );
      note({ path: text, value: inEnvironment, origin: "environment", where: variableOf(attribute) });
    } else if (file && path && inFile !== undefined) {
      options[attribute] = parsedBy(command, attribute, inFile, `${file.where(...path)}: ${text}`);
      note({ path: text, value: inFile, origin: "file", where: file.where(...path) });
    } else {
      const value = options[attribute];
      note({ path: text, value, origin: value === undefined ? "unset" : "default", where: "" });
    }
  };
  for (const [section, { options: keys }] of Object.entries(sections)) {
    for (const [key, attribute] of Object.entries(keys)) settleOne(attribute, [section, key]);
  }
  settleRepository();
  for (const attribute of endpointOptions) settleOne(attribute, undefined);
  settleEndpoints();
  settleFurther();
  return { options, settings, file };

  function settleRepository(): void {
    const isUsed = command.registeredArguments.some((one) => one.name() === "repository");
    const argument = command.args[0];
    const inEnvironment = isUsed ? fromEnvironment(environment, "repository", repositorySchema) : undefined;
    const inFile = file?.at("models", "repository");
    const path = repositoryPath;
    if (isUsed && argument !== undefined)
      note({ path, value: argument, origin: "flag", where: "<repository>" });
    else if (inEnvironment !== undefined)
      note({ path, value: inEnvironment, origin: "environment", where: "LONGSHORE_REPOSITORY" });
    else if (file && inFile !== undefined)
      note({ path, value: inFile, origin: "file", where: file.where("models", "repository") }, isUsed);
    else if (isUsed) note({ path, value: undefined, origin: "unset", where: "" });
    const value = settings.at(-1);
    if (isUsed && value?.path === path) options["repository"] = value.value;
  }

  /** Sections that only the file has. */
  function settleFurther(): void {
    for (const section of ["policy", "quotas", "budgets", "carbon"]) {
      const keys = file?.at(section);
      if (!file || typeof keys !== "object" || keys === null) continue;
      for (const [key, value] of Object.entries(keys)) {
        if (sections[section]?.options[key] !== undefined) continue;
        note({ path: `${section}.${key}`, value, origin: "file", where: file.where(section, key) });
      }
    }
  }

  function settleEndpoints(): void {
    const endpoints = file?.at("endpoints");
    if (!file || endpoints === undefined) return;
    const at = settings.find(({ path }) => path === "at");
    const isOverridden = at?.origin === "flag" || at?.origin === "environment";
    if (!isOverridden) {
      refuseMixed(command, environment, file);
      options["endpoints"] = endpoints;
    }
    note(
      { path: "endpoints", value: endpoints, origin: "file", where: file.where("endpoints") },
      !isOverridden,
    );
  }
}
