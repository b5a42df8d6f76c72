import { atOptions } from "../options/at-options.ts";
import { collect, type Defining, help } from "../options/define.ts";
import type { IncidentOptions } from "./command.ts";

/** `incident`. */
export function defineIncident({ program, action, io }: Defining): void {
  const command = program
    .command("incident")
    .description(
      "collect the state of servers, their configuration and logs for an engineer, without secrets",
    );
  help(
    atOptions(command)
      .option("--at <url>", "server or gateway; repeat for several", collect, [])
      .option(
        "--config <file>",
        "configuration file to include without its secrets; repeat for several",
        collect,
        [],
      )
      .option("--log <file>", "log whose last 2 MiB are included; repeat for several", collect, [])
      .requiredOption("--out <path>", "archive (FILE.tar.gz) or folder to write")
      .option("--json", "print JSON", false)
      .action(
        action(async (options: IncidentOptions) => (await import("./command.ts")).incident(options, io)),
      ),
    "longshore incident --at http://127.0.0.1:8000 --out incident.tar.gz",
    "longshore incident --at http://127.0.0.1:8000 --at-key observe.key --config longshore.yaml --log gateway.log --out incident",
  );
}
