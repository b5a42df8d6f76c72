import { Option } from "commander";
import { atOptions } from "../options/at-options.ts";
import { type Defining, help, number } from "../options/define.ts";
import { top } from "./command.ts";
import { orders } from "./screen.ts";

/** `longshore top`. */
export function defineTop({ program, action, io }: Defining): void {
  help(
    atOptions(
      program
        .command("top")
        .description("watch a server or gateway: tenants, routes, queues, cost")
        .option("--at <url>", "server or gateway (its port with /metrics)", "http://127.0.0.1:8000"),
    )
      .option("--every <seconds>", "seconds between looks", number("every", 0.2, 3600), 2)
      .option(
        "--count <n>",
        "looks before the command ends (default: no end on a terminal, otherwise 1)",
        number("count", 1),
      )
      .addOption(new Option("--sort <order>", "order of the tables").choices([...orders]).default("rate"))
      .option("--total", "counts since the server's start instead of rates", false)
      .option("--plain", "plain lines, also on a terminal", false)
      .option("--json", "print a JSON line for each look", false)
      .action(action((options) => top(options, io)))
      .addHelpText(
        "after",
        "\nKeys: q quit, space pause, t rates or totals, s sort, r look now, ? help. Piped, it prints one look and ends.",
      ),
    "longshore top --at http://127.0.0.1:8000",
    "longshore top --at http://127.0.0.1:8000 --json --count 10 | jq .micros",
  );
}
