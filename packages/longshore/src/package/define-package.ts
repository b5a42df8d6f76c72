import type { Command } from "commander";
import { connectionOptions } from "../options/connection-options.ts";
import { collect, type Defining, help, number } from "../options/define.ts";
import { packageCheck, packageFetch, packageSign } from "./command.ts";

/** Adds the options about models that come from elsewhere: of `serve`, else of a device. */
export function pullOptions(command: Command, serves = true): Command {
  const fetching = command
    .option(
      "--packages-into <folder>",
      serves
        ? "get models that this server is told to serve, and keep them there"
        : "the model is a package: get of it what runs here, and keep it there",
    )
    .option(
      "--packages-from <url>",
      `the server that gives them away; default: the one of ${serves ? "--join" : "--at"}`,
    )
    .option(
      "--package <name>",
      serves
        ? "a package to get at the start: a model, or a digest; repeat for several"
        : "another package that the model is made of; repeat for several",
      collect,
      [],
    )
    .option("--packages-max <bytes>", "most that they may take on disk", number("packages-max", 1));
  return connectionOptions(fetching, "packages", "the server of --packages-from");
}

/** `longshore package sign|check|fetch`. */
export function definePackage({ program, action, io }: Defining): void {
  const group = program.command("package").description("models that move: sign, check, fetch");
  help(
    group
      .command("sign")
      .description("sign what a model consists of; prints the digest that names the package")
      .argument("<model>", "folder of a model")
      .requiredOption("--key <file>", "the operator's private key (longshore directory key)")
      .option(
        "--heads",
        "list the heads of its model files, so that devices can fetch one instead of the whole",
        false,
      )
      .option(
        "--serial <n>",
        "number of this package, after all that were signed before; default: the time in seconds, or one more than package.json has",
        number("serial", 1, Number.MAX_SAFE_INTEGER),
      )
      .option(
        "--days <n>",
        "the package is used for so long, and has to be signed again by then; default: without an end",
        number("days", 0.001, 1e6),
      )
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => packageSign(model, options, io))),
    "longshore package sign ./models/ocr --key operator.pem",
    "longshore package sign ./models/ocr --key operator.pem --days 90",
  );
  help(
    group
      .command("check")
      .description("say whether the files of a model are those that the operator signed")
      .argument("<model>", "folder of a model")
      .requiredOption("--operator-keys <file>", "public keys of the operator")
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => packageCheck(model, options, io))),
    "longshore package check ./models/ocr --operator-keys operator.pub",
  );
  help(
    connectionOptions(group.command("fetch"), "packages", "the server of --from")
      .description("fetch a package into a cache, or the rest of it")
      .argument("<name>", "a model, or a digest")
      .requiredOption("--from <url>", "a server that gives it away")
      .requiredOption("--into <folder>", "the cache")
      .option("--operator-keys <file>", "public keys of the operator; without them only a digest will do")
      .option("--head <cut>", "of its model files only the head up to this cut, for a device")
      .option("--json", "print JSON", false)
      .action(action((name: string, options) => packageFetch(name, options, io))),
    "longshore package fetch ocr --from http://10.0.0.2:8000 --into ./packages --operator-keys operator.pub",
  );
}
