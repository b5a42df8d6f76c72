import { directoryCheck, directoryKey, directoryList, directorySign } from "./directory.ts";
import { directoryOptions } from "../options/directory-options.ts";
import { directoryMirror, directoryPublish, publishing, toNats, withdraw } from "../publish/publish.ts";
import { type Defining, help, number } from "../options/define.ts";

/** `longshore directory key|sign|check|list|publish|withdraw|mirror`. */
export function defineDirectory({ program, action, io }: Defining): void {
  const directory = program
    .command("directory")
    .description("manage the operator's directory of endpoints: key, sign, check, list, publish");
  help(
    directory
      .command("key")
      .description("make an operator's key pair; prints the public key")
      .argument("<file>", "file for the private key; keep it secret")
      .option("--json", "print JSON", false)
      .action(action((file: string, options) => directoryKey(file, options, io))),
    "longshore directory key operator.pem > operator.pub",
  );
  help(
    directory
      .command("sign")
      .description("sign the entries of a file")
      .argument("<file>", "directory file (YAML or JSON)")
      .requiredOption("--key <file>", "the operator's private key")
      .option("--out <file>", "where to write the signed file; default: the file itself")
      .option("--days <n>", "validity in days of entries that state no end", number("days", 0.001, 1e6), 90)
      .option("--json", "print JSON", false)
      .action(action((file: string, options) => directorySign(file, options, io))),
    "longshore directory sign endpoints.yaml --key operator.pem --out endpoints.json",
  );
  help(
    directory
      .command("check")
      .description("check each entry of a file")
      .argument("<file>", "directory file")
      .requiredOption("--operator-keys <file>", "public keys of the operator")
      .option("--json", "print JSON", false)
      .action(action((file: string, options) => directoryCheck(file, options, io))),
    "longshore directory check endpoints.json --operator-keys operator.pub",
  );
  const list = directory
    .command("list")
    .description("list endpoints as they would be used")
    .argument("<where>", "a file, or the address of a directory server");
  help(
    directoryOptions(list, false)
      .option("--json", "print JSON", false)
      .action(action((from: string, options) => directoryList(from, options, io))),
    "longshore directory list http://127.0.0.1:8000 --operator-keys operator.pub",
  );
  help(
    publishing(
      directory
        .command("publish")
        .description(
          "publish the signed entries and aliases of a file in a NATS bucket: all or, if one conflicts, none",
        )
        .argument("<file>", "signed directory file"),
      "directory",
    ).action(action((file: string, options) => directoryPublish(file, options, io))),
    "longshore directory publish endpoints.json --to nats:127.0.0.1:4222 --operator-keys operator.pub",
  );
  help(
    toNats(
      directory
        .command("withdraw")
        .description("take an endpoint out of a NATS bucket")
        .argument("<id>", "ID of the endpoint"),
      "directory",
    )
      .option("--json", "print JSON", false)
      .action(action((id: string, options) => withdraw("endpoint", id, options, io))),
    "longshore directory withdraw till-4 --to nats:127.0.0.1:4222",
  );
  help(
    toNats(
      directory
        .command("mirror")
        .description("make a NATS bucket that copies the one of a hub, over a leaf node"),
      "directory",
    )
      .requiredOption("--domain <name>", "JetStream domain of the hub")
      .option("--replicas <n>", "copies of the bucket (default 1)", number("replicas", 1, 5))
      .option("--json", "print JSON", false)
      .action(action((options) => directoryMirror(options, io))),
    "longshore directory mirror --to nats:127.0.0.1:4222 --domain hub",
  );
}
