import { defaultTrialLimits } from "@longshore/core/internal";
import { type Command, Option } from "commander";
import { atOptions } from "../options/at-options.ts";
import { collect, type Defining, help, number } from "../options/define.ts";
import { changeAlias, rolloutStatus, startTrial } from "./command.ts";
import { signAlias } from "./sign.ts";

/** `longshore rollout status|set|start|promote|abort|remove|sign`. */
export function defineRollout({ program, action, io }: Defining): void {
  const rollout = program
    .command("rollout")
    .description(
      "names that lead to versions of models, and new versions on trial: canary, sides of a comparison, shadow",
    );
  const at = (command: Command): Command =>
    atOptions(
      command.option("--at <url>", "the server or gateway (its port for management)", collect, []),
    ).option("--json", "print JSON", false);
  const changing = (command: Command): Command =>
    at(command).option(
      "--revision <n>",
      "the revision that the change is meant for; default: the one it has now",
      number("revision", 0),
    );
  help(
    at(
      rollout
        .command("status")
        .description("say where aliases lead, and how candidates do")
        .argument("[alias]", "default: all"),
    ).action(action((name: string | undefined, options) => rolloutStatus(name, options, io))),
    "longshore rollout status --at http://127.0.0.1:8000",
  );
  help(
    changing(
      rollout
        .command("set")
        .description("let an alias lead to a version, at once")
        .argument("<alias>", "its name"),
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
      rollout.command("start").description("put another version on trial").argument("<alias>", "its name"),
    )
      .requiredOption("--to <version>", "the candidate")
      .addOption(new Option("--mode <mode>", "how").choices(["canary", "ab", "shadow"]).default("canary"))
      .option(
        "--weight <ratio>",
        "share of requests, tenants or users that get it",
        number("weight", 0, 1),
        0.05,
      )
      .addOption(
        new Option("--by <what>", "what keeps to one side")
          .choices(["request", "tenant", "user"])
          .default("request"),
      )
      .option(
        "--error-factor <n>",
        "errors it may have, as a multiple of the stable version's",
        number("error-factor", 1),
        defaultTrialLimits.errorFactor,
      )
      .option(
        "--latency-factor <n>",
        "time it may take, as a multiple of the stable version's",
        number("latency-factor", 1),
        defaultTrialLimits.latencyFactor,
      )
      .option(
        "--agreement <ratio>",
        "of a shadow: share of answers that must agree",
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
        .argument("<alias>", "its name"),
    )
      .requiredOption("--file <file>", "the directory file")
      .requiredOption("--key <file>", "the operator's private key")
      .requiredOption("--model <name>", "the model")
      .requiredOption("--to <version>", "the version that it leads to")
      .option("--candidate <version>", "another version, on trial")
      .addOption(new Option("--mode <mode>", "how").choices(["canary", "ab", "shadow"]).default("canary"))
      .option("--weight <ratio>", "share that gets the candidate", number("weight", 0, 1), 0.05)
      .addOption(
        new Option("--by <what>", "what keeps to one side")
          .choices(["request", "tenant", "user"])
          .default("request"),
      )
      .option(
        "--revision <n>",
        "the revision that the change is meant for; default: the one in the file",
        number("revision", 0),
      )
      .option("--days <n>", "for how long it holds", number("days", 0.001, 1e6), 90)
      .action(action((name: string, options) => signAlias(name, options, io))),
    "longshore rollout sign reader --file endpoints.json --key operator.pem --model ocr --to 2 --at http://127.0.0.1:8000",
  );
  for (const [name, what] of [
    ["promote", "make the candidate the stable version"],
    ["abort", "end the trial"],
    ["remove", "forget the alias"],
  ] as const) {
    help(
      changing(rollout.command(name).description(what).argument("<alias>", "its name")).action(
        action((alias: string, options) => changeAlias(alias, { do: name }, options, io)),
      ),
      `longshore rollout ${name} reader --at http://127.0.0.1:8000`,
    );
  }
}
