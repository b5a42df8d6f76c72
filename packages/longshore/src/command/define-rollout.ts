import { defaultTrialLimits } from "@longshore/core/internal";
import { type Command, Option } from "commander";
import { atOptions } from "../options/at-options.ts";
import { collect, type Defining, help, number } from "../options/define.ts";
import { publishing, rolloutPublish, toNats, withdraw } from "../publish/publish.ts";
import { changeAlias, rolloutStatus, startTrial } from "./rollout.ts";
import { signAlias } from "./sign-aliases.ts";

/** `longshore rollout status|set|start|promote|abort|remove|sign|publish|withdraw`. */
export function defineRollout({ program, action, io }: Defining): void {
  const rollout = program
    .command("rollout")
    .description("manage model aliases and staged rollouts (canary, A/B, shadow)");
  const at = (command: Command): Command =>
    atOptions(command.option("--at <url>", "server or gateway (its management port)", collect, [])).option(
      "--json",
      "print JSON",
      false,
    );
  const changing = (command: Command): Command =>
    at(command).option(
      "--revision <n>",
      "revision that the change applies to (default: the current one)",
      number("revision", 0),
    );
  help(
    at(
      rollout
        .command("status")
        .description("show aliases and the figures of their candidates")
        .argument("[alias]", "default: all"),
    ).action(action((name: string | undefined, options) => rolloutStatus(name, options, io))),
    "longshore rollout status --at http://127.0.0.1:8000",
  );
  help(
    changing(
      rollout
        .command("set")
        .description("point an alias at a version")
        .argument("<alias>", "name of the alias"),
    )
      .requiredOption("--model <name>", "the model")
      .requiredOption("--to <version>", "its version")
      .action(
        action((name: string, options) =>
          changeAlias(name, { do: "set", model: options.model, version: options.to }, options, io),
        ),
      ),
    "longshore rollout set reader --model ocr --to 1 --at http://127.0.0.1:8000",
  );
  help(
    changing(
      rollout
        .command("start")
        .description("start a trial of another version")
        .argument("<alias>", "name of the alias"),
    )
      .requiredOption("--to <version>", "the candidate")
      .addOption(
        new Option("--mode <mode>", "kind of trial").choices(["canary", "ab", "shadow"]).default("canary"),
      )
      .option(
        "--weight <ratio>",
        "share of requests, tenants or users that get the candidate",
        number("weight", 0, 1),
        0.05,
      )
      .addOption(
        new Option("--by <unit>", "the unit that stays on one side")
          .choices(["request", "tenant", "user"])
          .default("request"),
      )
      .option(
        "--error-factor <n>",
        "allowed errors over the stable version's",
        number("error-factor", 1),
        defaultTrialLimits.errorFactor,
      )
      .option(
        "--latency-factor <n>",
        "allowed time over the stable version's",
        number("latency-factor", 1),
        defaultTrialLimits.latencyFactor,
      )
      .option(
        "--agreement <ratio>",
        "shadow: share of answers that must agree",
        number("agreement", 0, 1),
        defaultTrialLimits.agreementRatio,
      )
      .option(
        "--min-samples <n>",
        "requests before anything is decided",
        number("min-samples", 1),
        defaultTrialLimits.minSamples,
      )
      .action(action((name: string, options) => startTrial(name, options, io))),
    "longshore rollout start reader --to 2 --mode shadow --weight 0.1 --at http://127.0.0.1:8000",
    "longshore rollout start reader --to 2 --weight 0.05 --by user --at http://127.0.0.1:8000",
  );
  help(
    at(
      rollout
        .command("sign")
        .description("sign an alias into a directory file, for all servers and gateways that read it")
        .argument("<alias>", "name of the alias"),
    )
      .requiredOption("--file <file>", "the directory file")
      .requiredOption("--key <file>", "the operator's private key")
      .requiredOption("--model <name>", "the model")
      .requiredOption("--to <version>", "version of the alias")
      .option("--candidate <version>", "version to try")
      .addOption(
        new Option("--mode <mode>", "kind of trial").choices(["canary", "ab", "shadow"]).default("canary"),
      )
      .option("--weight <ratio>", "share that gets the candidate", number("weight", 0, 1), 0.05)
      .addOption(
        new Option("--by <unit>", "the unit that stays on one side")
          .choices(["request", "tenant", "user"])
          .default("request"),
      )
      .option(
        "--revision <n>",
        "revision that the change applies to (default: the one in the file)",
        number("revision", 0),
      )
      .option("--days <n>", "validity in days", number("days", 0.001, 1e6), 90)
      .action(action((name: string, options) => signAlias(name, options, io))),
    "longshore rollout sign reader --file endpoints.json --key operator.pem --model ocr --to 2 --at http://127.0.0.1:8000",
  );
  help(
    publishing(
      rollout
        .command("publish")
        .description("publish a signed alias of a directory file in a NATS bucket")
        .argument("<alias>", "name of the alias")
        .requiredOption("--file <file>", "the directory file"),
      "directory",
    ).action(action((name: string, options) => rolloutPublish(name, options, io))),
    "longshore rollout publish reader --file endpoints.json --to nats:127.0.0.1:4222 --operator-keys operator.pub",
  );
  help(
    toNats(
      rollout
        .command("withdraw")
        .description("take an alias out of a NATS bucket")
        .argument("<alias>", "name of the alias"),
      "directory",
    )
      .option("--json", "print JSON", false)
      .action(action((name: string, options) => withdraw("alias", name, options, io))),
    "longshore rollout withdraw reader --to nats:127.0.0.1:4222",
  );
  for (const [name, what] of [
    ["promote", "make the candidate the stable version"],
    ["abort", "end the trial"],
    ["remove", "forget the alias"],
  ] as const) {
    help(
      changing(rollout.command(name).description(what).argument("<alias>", "name of the alias")).action(
        action((alias: string, options) => changeAlias(alias, { do: name }, options, io)),
      ),
      `longshore rollout ${name} reader --at http://127.0.0.1:8000`,
    );
  }
}
