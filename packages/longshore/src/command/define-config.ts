import { Option } from "commander";
import { type Defining, help } from "../options/define.ts";
import { servingCommand } from "./serving-command.ts";

const asOption = (): Option =>
  new Option("--as <command>", "the command that reads the file")
    .choices(["serve", "gateway"])
    .default("serve");

interface ConfigOptions {
  readonly as: "serve" | "gateway";
  readonly json: boolean;
}

/** `longshore config check|show|schema`. */
export function defineConfig({ program, action, io }: Defining): void {
  const group = program
    .command("config")
    .description(
      "check longshore.yaml, show what flags, environment and file come to, print its JSON Schema",
    );
  help(
    group
      .command("check")
      .description("check a configuration file and the files that it names; exit code 2 when it is wrong")
      .argument("[file]", "the file", "longshore.yaml")
      .addOption(asOption())
      .option("--json", "print JSON", false)
      .action(
        action(async (file: string, options: ConfigOptions) => {
          const { configCheck } = await import("./config.ts");
          return configCheck(servingCommand(options.as, io), file, options, io);
        }),
      ),
    "longshore config check longshore.yaml",
    "longshore config check gateway.yaml --as gateway",
  );
  help(
    group
      .command("show")
      .description("show effective values and where each comes from; files of secrets are named, not read")
      .argument("[file]", "the file", "longshore.yaml")
      .argument("[flags...]", "flags of the command, after --")
      .addOption(asOption())
      .option("--json", "print JSON", false)
      .action(
        action(async (file: string, flags: readonly string[], options: ConfigOptions) => {
          const { configShow } = await import("./config.ts");
          return configShow(servingCommand(options.as, io), file, flags, options, io);
        }),
      ),
    "longshore config show longshore.yaml",
    "longshore config show longshore.yaml --as gateway -- --port 9000",
  );
  help(
    group
      .command("schema")
      .description("print the JSON Schema of longshore.yaml, with which editors complete and check it")
      .action(
        action(async () => {
          const { configSchema } = await import("./config.ts");
          return configSchema(servingCommand("serve", io), io);
        }),
      ),
    "longshore config schema > longshore.schema.json",
  );
}
