import { Command, CommanderError } from "commander";
import type { Defining } from "./define.ts";
import { defineDirectory } from "./define-directory.ts";
import { defineLab } from "./define-lab.ts";
import { defineModels } from "./define-models.ts";
import { definePackage } from "../package/define-package.ts";
import { defineRollout } from "../rollout/define-rollout.ts";
import { defineRequests } from "./define-requests.ts";
import { defineServing } from "./define-serving.ts";
import type { CommandIo, ExitCode } from "./io.ts";
import { reportFailure } from "./io.ts";

/** The groups of commands, in the order in which help lists them. */
const groups: readonly ((defining: Defining) => void)[] = [
  defineServing,
  defineDirectory,
  definePackage,
  defineRollout,
  defineRequests,
  defineModels,
  defineLab,
];

/** Parses the arguments, runs the command and gives the exit code: 0 done, 1 failed or "no", 2 wrong usage or input. */
export async function runCommand(args: readonly string[], io: CommandIo): Promise<ExitCode> {
  let code: ExitCode = 0;
  const action: Defining["action"] =
    <A extends unknown[]>(run: (...given: A) => Promise<ExitCode>) =>
    async (...given: A): Promise<void> => {
      const json = given.some(
        (value) => typeof value === "object" && value !== null && (value as { json?: boolean }).json === true,
      );
      try {
        code = await run(...given);
      } catch (error) {
        code = reportFailure(error, json, io);
      }
    };

  const program = new Command("longshore")
    .description(
      "Decides for every request where an inference runs - here, on an edge server, in a cloud, or split - and runs it there.",
    )
    .version("0.1.0")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.out(text.trimEnd()),
      writeErr: (text) => io.note(text.trimEnd()),
    });

  for (const define of groups) define({ program, io, action });

  try {
    await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === "longshore.option") io.note(error.message);
    return error.exitCode === 0 ? 0 : 2;
  }
  if (args.length === 0) return 2;
  return code;
}
