import { type Command, CommanderError } from "commander";
import type { CommandIo, ExitCode } from "./io.ts";

/** The parts that define a group of commands. */
export interface Defining {
  readonly program: Command;
  readonly io: CommandIo;
  /** Runs one command and turns what it throws into words and a code. */
  readonly action: <A extends unknown[]>(
    run: (...given: A) => Promise<ExitCode>,
  ) => (...given: A) => Promise<void>;
}

/** For options that may be given several times. */
export const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** Reads the number of an option, and tells its range, of which the schema of the configuration file is made. */
export interface NumberReader {
  (text: string): number;
  readonly least: number;
  readonly most: number;
  readonly whole: boolean;
}

function reader(name: string, least: number, most: number, whole: boolean, hint = ""): NumberReader {
  const range = most === Infinity ? `of ${least} or more` : `from ${least} to ${most}`;
  const read = (text: string): number => {
    // An empty text, such as that of a variable that is not set, would be zero.
    const value = text.trim() === "" ? NaN : Number(text);
    if (!Number.isFinite(value) || value < least || value > most || (whole && !Number.isInteger(value)))
      throw new CommanderError(
        2,
        "longshore.option",
        `error: --${name} wants a ${whole ? "whole " : ""}number ${range}${withoutUnit(name, text)}, not '${text}'${hint}`,
      );
    return value;
  };
  return Object.assign(read, { least, most, whole });
}

/** The unit of an option to whose number a unit was added, such as 10MB or 1ms. */
function withoutUnit(name: string, text: string): string {
  if (!/^\s*[\d.]+\s*[a-zµ]+\s*$/i.test(text)) return "";
  const unit = unitOf(name);
  return unit ? ` in ${unit}, without a unit` : " without a unit";
}

function unitOf(name: string): string | undefined {
  if (/(?:^|-)seconds$/.test(name)) return "seconds";
  if (/deadline$|^warm-up$|-ms$/.test(name)) return "milliseconds";
  if (/memory$|^max-body$|^cache-size$|-bytes$|^packages-max$/.test(name)) return "bytes";
  return undefined;
}

/** Reads the number of an option, from `least` to `most`. */
export function number(name: string, least: number, most: number = Infinity): NumberReader {
  return reader(name, least, most, false);
}

/** Reads the number of a port. `hint` ends the message about a wrong one. */
export function port(name: string, hint?: string): NumberReader {
  return reader(name, 0, 65_535, true, hint);
}

/** Adds examples to the help of a command. */
export function help(command: Command, ...examples: readonly string[]): Command {
  return command.addHelpText(
    "after",
    `\nExamples:\n${examples.map((example) => `  $ ${example}`).join("\n")}\n`,
  );
}
