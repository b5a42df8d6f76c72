import type { Command } from "commander";
import { misspeltVariables, schemaFor, settle } from "../configuration/settle.ts";
import type { Setting } from "../settings/settled.ts";
import { type CommandIo, type ExitCode, table } from "../options/io.ts";
import { checkSettings } from "./serving-settings.ts";

const about = (settings: readonly Setting[]): string => {
  const inFile = settings.filter(({ origin }) => origin === "file");
  const unused = inFile.filter(({ isUsed }) => !isUsed).map(({ path }) => path);
  const count = inFile.length - unused.length;
  const used = count === 1 ? "1 setting of the file is used" : `${count} settings of the file are used`;
  return unused.length === 0 ? used : `${used}; these are not: ${unused.join(", ")}`;
};

/** Checks a configuration file as a command would read it. */
export async function configCheck(
  command: Command,
  file: string,
  { json }: { readonly json: boolean },
  io: CommandIo,
): Promise<ExitCode> {
  command.parseOptions(["--config", file]);
  const settled = await settle(command, io.environment);
  await checkSettings(command, settled, io);
  for (const warning of misspeltVariables(command, io.environment)) io.note(warning);
  if (json) io.out(JSON.stringify({ file, good: true }));
  else io.out(`${file} is good for longshore ${command.name()}: ${about(settled.settings)}`);
  return 0;
}

/** A value without passwords in addresses. */
function withoutSecrets(value: unknown): unknown {
  if (typeof value === "string") return value.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@\s]*@/i, "$1***@");
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutSecrets(inner)]));
}

/** Shows the effective value of each setting and where it comes from. */
export async function configShow(
  command: Command,
  file: string,
  flags: readonly string[],
  { json }: { readonly json: boolean },
  io: CommandIo,
): Promise<ExitCode> {
  const { operands, unknown } = command.parseOptions(["--config", file, ...flags]);
  if (unknown[0] !== undefined) command.error(`error: unknown option '${unknown[0]}'`);
  command.args = operands;
  const { settings } = await settle(command, io.environment);
  for (const warning of misspeltVariables(command, io.environment)) io.note(warning);
  const shown = settings
    .filter(({ origin, path }) => origin !== "unset" && (path.includes(".") || origin !== "default"))
    .map((one) => ({ ...one, value: withoutSecrets(one.value) }));
  if (json) {
    io.out(
      JSON.stringify(
        shown.map(({ path, value, origin, where, isUsed }) => ({ path, value, origin, where, isUsed })),
      ),
    );
    return 0;
  }
  const rows = shown.map(({ path, value, origin, where, isUsed }) => [
    path,
    typeof value === "string" ? value : JSON.stringify(value),
    `${where === "" ? origin : `${origin} ${where}`}${isUsed ? "" : ` (not used by ${command.name()})`}`,
  ]);
  io.out(table(["setting", "value", "from"], rows));
  return 0;
}

/** Prints the JSON Schema of the file. */
export async function configSchema(command: Command, io: CommandIo): Promise<ExitCode> {
  io.out(schemaText(command));
  return 0;
}

/** The published JSON Schema. */
export function schemaText(command: Command): string {
  const head = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "longshore.yaml",
    description: "Configuration of longshore serve, longshore gateway and openOffloader.",
  };
  return JSON.stringify({ ...head, ...schemaFor(command) }, undefined, 2);
}
