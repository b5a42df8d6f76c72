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

/** A value of an option that is no number of its range. */
export class NumberError extends CommanderError {
  /** Name of the option, without `--`. */
  readonly option: string;
  /** Whether a unit was added, as in `10MB`. */
  readonly hasUnit: boolean;

  constructor(option: string, text: string, message: string) {
    super(2, "longshore.option", message);
    this.option = option;
    this.hasUnit = /^\s*[\d.]+\s*[a-zµ]+\s*$/i.test(text);
  }
}

function reader(name: string, least: number, most: number, whole: boolean, hint = ""): NumberReader {
  const range = most === Infinity ? `of ${least} or more` : `from ${least} to ${most}`;
  const read = (text: string): number => {
    // An empty text, such as that of a variable that is not set, would be zero.
    const value = text.trim() === "" ? NaN : Number(text);
    if (!Number.isFinite(value) || value < least || value > most || (whole && !Number.isInteger(value)))
      throw new NumberError(
        name,
        text,
        `error: --${name} wants a ${whole ? "whole " : ""}number ${range}, not '${text}'${hint}`,
      );
    return value;
  };
  return Object.assign(read, { least, most, whole });
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
