import { Command } from "commander";
import type { CommandIo } from "../options/io.ts";
import { defineServing } from "./define-serving.ts";

/** The command `serve` or `gateway`, only to read its options: it is not run. */
export function servingCommand(name: "serve" | "gateway", io: CommandIo): Command {
  const program = new Command("longshore").exitOverride();
  program.configureOutput({
    writeOut: (text) => io.out(text.trimEnd()),
    writeErr: (text) => io.note(text.trimEnd()),
  });
  defineServing({ program, io, action: () => async () => undefined });
  const found = program.commands.find((one) => one.name() === name);
  if (!found) throw new TypeError(`there is no command ${name}`);
  return found;
}
