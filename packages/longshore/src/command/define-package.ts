import type { Command } from "commander";
import { connectionOptions } from "../options/connection-options.ts";
import { collect, type Defining, help, number } from "../options/define.ts";
import { toNats } from "../publish/publish.ts";
import { packageMirror, packagePublish } from "./publish-package.ts";
import { packageCheck, packageFetch, packageSign } from "./package.ts";

/** Adds the options about models that come from elsewhere: of `serve`, else of a device. */
export function pullOptions(command: Command, serves = true): Command {
  const fetching = command
    .option(
      "--packages-into <folder>",
      serves
        ? "cache folder for packages; the server fetches the models that it is to serve"
        : "cache folder for packages; the device fetches the parts of the model that it runs",
    )
    .option(
      "--packages-from <where>",
      `source of packages: a server, nats:HOST/BUCKET, oci:HOST/REPOSITORY[@DIGEST], or folder:URL (default: the server of ${serves ? "--join" : "--at"})`,
    )
    .option(
      "--package <name>",
      serves
        ? "package to fetch at the start, by model or digest; repeat for several"
        : "another package that the model needs; repeat for several",
      collect,
      [],
    )
    .option("--packages-max <bytes>", "most bytes of packages on disk", number("packages-max", 1));
  return connectionOptions(fetching, "packages", "the server of --packages-from");
}

/** `longshore package sign|check|fetch|publish|mirror`. */
export function definePackage({ program, action, io }: Defining): void {
  const group = program.command("package").description("manage model packages: sign, check, fetch, publish");
  help(
    group
      .command("sign")
      .description("sign a model's folder; prints the package's digest")
      .argument("<model>", "folder of a model")
      .requiredOption("--key <file>", "the operator's private key (longshore directory key)")
      .option("--heads", "list heads, so that devices can fetch a head instead of the whole model", false)
      .option(
        "--serial <n>",
        "serial number, above all earlier ones (default: the time in seconds, or one more than in package.json)",
        number("serial", 1, Number.MAX_SAFE_INTEGER),
      )
      .option("--days <n>", "validity in days (default: no end)", number("days", 0.001, 1e6))
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => packageSign(model, options, io))),
    "longshore package sign ./models/ocr --key operator.pem",
    "longshore package sign ./models/ocr --key operator.pem --days 90",
  );
  help(
    group
      .command("check")
      .description("check that a model's files are those that the operator signed")
      .argument("<model>", "folder of a model")
      .requiredOption("--operator-keys <file>", "public keys of the operator")
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => packageCheck(model, options, io))),
    "longshore package check ./models/ocr --operator-keys operator.pub",
  );
  help(
    connectionOptions(group.command("fetch"), "packages", "the server of --from")
      .description("fetch a package into a cache; resumes")
      .argument("<name>", "a model, or a digest")
      .requiredOption(
        "--from <where>",
        "source: a server, nats:HOST/BUCKET, oci:HOST/REPOSITORY[@DIGEST], or folder:URL",
      )
      .requiredOption("--into <folder>", "the cache")
      .option("--operator-keys <file>", "public keys of the operator; without them name a digest")
      .option("--head <cut>", "fetch only the head up to this cut")
      .option("--json", "print JSON", false)
      .action(action((name: string, options) => packageFetch(name, options, io))),
    "longshore package fetch ocr --from oci:registry.example/models --into ./packages --operator-keys operator.pub",
    "longshore package fetch ocr --from http://10.0.0.2:8000 --into ./packages --operator-keys operator.pub",
  );
  help(
    connectionOptions(
      group
        .command("publish")
        .description(
          "publish a signed model in an OCI registry, a folder for a web server, or a NATS object store",
        )
        .argument("<model>", "folder of a model")
        .requiredOption("--to <where>", "oci:HOST/REPOSITORY, a folder, or nats:HOST[:PORT][/BUCKET]"),
      "packages",
      "the registry (USER:PASSWORD, or a token) or the NATS server",
    )
      .requiredOption(
        "--operator-keys <file>",
        "public keys of the operator; a package that none of them signed is refused",
      )
      .option(
        "--replicas <n>",
        "copies of the NATS object store, if this command makes it (default 1)",
        number("replicas", 1, 5),
      )
      .option("--json", "print JSON", false)
      .action(action((model: string, options) => packagePublish(model, options, io))),
    "longshore package publish ./models/ocr --to oci:registry.example/models --packages-key registry.txt --operator-keys operator.pub",
    "longshore package publish ./models/ocr --to /srv/www/packages --operator-keys operator.pub",
    "longshore package publish ./models/ocr --to nats:127.0.0.1:4222 --operator-keys operator.pub",
  );
  help(
    toNats(
      group
        .command("mirror")
        .description("make a NATS object store that copies the one of a hub, over a leaf node"),
      "packages",
    )
      .requiredOption("--domain <name>", "JetStream domain of the hub")
      .option("--replicas <n>", "copies of the store (default 1)", number("replicas", 1, 5))
      .option("--json", "print JSON", false)
      .action(action((options) => packageMirror(options, io))),
    "longshore package mirror --to nats:127.0.0.1:4222 --domain hub",
  );
}
