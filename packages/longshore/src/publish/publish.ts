import { type DirectoryEntry, LongshoreError, type Signed } from "@longshore/core";
import { aliasFrom, checkSignature, entryJson } from "@longshore/core/internal";
import { operatorRing } from "@longshore/nodejs";
import type { Command } from "commander";
import { readDirectoryFile, type SignedAlias } from "../connect/entry-file.ts";
import { type DirectoryWriter, isNats, optionalNatsDirectoryWriter } from "../connect/nats-directory.ts";
import { readTextFile } from "../connect/read-text.ts";
import {
  type ConnectionName,
  connectionOptions,
  type Shown,
  type ShownOptions,
  shownOf,
} from "../options/connection-options.ts";
import { number } from "../options/define.ts";
import { type CommandIo, type ExitCode, table } from "../options/io.ts";

/** Where a command publishes, and as whom. */
export interface PublishOptions extends ShownOptions<"directory"> {
  readonly to: string;
  readonly operatorKeys: string;
  readonly replicas?: number;
  readonly json: boolean;
}

/** Adds `--to`, and the options of that connection. */
export function toNats(command: Command, connection: ConnectionName): Command {
  const to = command.requiredOption(
    "--to <address>",
    "NATS server and bucket, nats:HOST[:PORT][/BUCKET]; several servers with commas",
  );
  return connectionOptions(to, connection, "the NATS server");
}

/** Adds the options of a command that may make the bucket. */
export function publishing(command: Command, connection: ConnectionName): Command {
  return toNats(command, connection)
    .requiredOption(
      "--operator-keys <file>",
      "public keys of the operator; anything that none of them signed is refused",
    )
    .option(
      "--replicas <n>",
      "copies of the bucket, if this command makes it (default 1)",
      number("replicas", 1, 5),
    )
    .option("--json", "print JSON", false);
}

/** Throws `invalid-configuration` for an address that is not in NATS. */
function demandNats(to: string): void {
  if (isNats(to)) return;
  const example = "nats:127.0.0.1:4222";
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    `--to is the address of a NATS server, such as ${example}; readers of a file or of a directory server need no publishing`,
  );
}

/** Opens what `--to` names for one command, with the credentials and the number of replicas of the command. */
export async function writingTo<Writer extends { close(): Promise<void> }, T>(
  open: (to: string, settings: Shown & Pick<PublishOptions, "replicas">) => Promise<Writer>,
  connection: ConnectionName,
  options: Pick<PublishOptions, "to" | "replicas"> & ShownOptions<ConnectionName>,
  work: (writer: Writer) => Promise<T>,
): Promise<T> {
  const { to, replicas } = options;
  demandNats(to);
  const shown = await shownOf(connection, options);
  const writer = await open(to, { ...shown, ...(replicas === undefined ? {} : { replicas }) });
  try {
    return await work(writer);
  } finally {
    await writer.close();
  }
}

/** Opens the bucket of a directory. */
function writing<T>(
  options: Pick<PublishOptions, "to" | "replicas"> & ShownOptions<"directory">,
  work: (writer: DirectoryWriter) => Promise<T>,
): Promise<T> {
  return writingTo(optionalNatsDirectoryWriter, "directory", options, work);
}

/** Throws `not-permitted` for the first entry or alias that the operator did not sign. */
async function demandSigned(
  entries: readonly Signed<DirectoryEntry>[],
  aliases: readonly SignedAlias[],
  keys: string,
): Promise<void> {
  const ring = operatorRing(await readTextFile(keys, "the operator's keys"));
  const check = async (what: string, checking: Promise<void>): Promise<void> => {
    try {
      await checking;
    } catch (thrown) {
      const { message, reason } = LongshoreError.from(thrown, "identify", "checking");
      throw new LongshoreError(reason, "identify", `${what}: ${message}; nothing was published`, {
        cause: thrown,
      });
    }
  };
  for (const { body, signature } of entries) {
    const signed = { body: entryJson(body), ...(signature ? { signature } : {}) };
    await check(body.id, checkSignature("directory entry", signed, ring));
  }
  for (const { body, signature } of aliases) {
    // An entry is plain data.
    const signed = {
      body: body as unknown as ReturnType<typeof entryJson>,
      ...(signature ? { signature } : {}),
    };
    await check(`alias ${nameOf({ body })}`, checkSignature("alias entry", signed, ring));
  }
}

function nameOf({ body }: Pick<SignedAlias, "body">): string {
  return aliasFrom(body.alias, "an alias of the file").name;
}

/** Checks entries and aliases, publishes them all or none, and says what became of each. */
async function publish(
  entries: readonly Signed<DirectoryEntry>[],
  aliases: readonly SignedAlias[],
  options: PublishOptions,
  io: CommandIo,
): Promise<ExitCode> {
  demandNats(options.to);
  await demandSigned(entries, aliases, options.operatorKeys);
  const written = await writing(options, (writer) => writer.publish(entries, aliases));
  const rows = [
    ...entries.map(({ body: { id, serial } }) => ({ kind: "endpoint", name: id, number: serial })),
    ...aliases.map((one) => ({
      kind: "alias",
      name: nameOf(one),
      number: aliasFrom(one.body.alias, "an alias").revision,
    })),
  ].map((row, index) => ({ ...row, outcome: written[index] ?? "unchanged" }));
  if (options.json) {
    io.out(JSON.stringify({ to: options.to, published: rows }));
    return 0;
  }
  const cells = rows.map(({ kind, name, number: at, outcome }) => [kind, name, String(at), outcome]);
  io.out(table(["kind", "name", "serial", "outcome"], cells));
  return 0;
}

/** Publishes the signed entries and aliases of a file. */
export async function directoryPublish(
  file: string,
  options: PublishOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const { entries, aliases } = await readDirectoryFile(file);
  if (entries.length + aliases.length === 0)
    throw new LongshoreError("invalid-input", "resolve", `'${file}' has no entries and no aliases`);
  return publish(entries, aliases, options, io);
}

/** Publishes one alias of a file. */
export async function rolloutPublish(
  name: string,
  options: PublishOptions & { readonly file: string },
  io: CommandIo,
): Promise<ExitCode> {
  const { aliases } = await readDirectoryFile(options.file);
  const found = aliases.filter((one) => nameOf(one) === name);
  if (found.length === 0) {
    const there = aliases.map(nameOf).join(", ") || "none";
    const what = `'${options.file}' has no alias '${name}' (it has ${there}): sign it with longshore rollout sign`;
    throw new LongshoreError("invalid-input", "resolve", what);
  }
  return publish([], found, options, io);
}

/** Options of commands that take something out of a bucket. */
export interface WithdrawOptions extends ShownOptions<"directory"> {
  readonly to: string;
  readonly json: boolean;
}

/** Takes an endpoint or an alias out of the bucket. Exit code 1 where it is not there. */
export async function withdraw(
  kind: "endpoint" | "alias",
  name: string,
  options: WithdrawOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const isThere = await writing(options, (writer) =>
    kind === "endpoint" ? writer.withdraw(name) : writer.withdrawAlias(name),
  );
  if (options.json) io.out(JSON.stringify({ kind, name, withdrawn: isThere }));
  else if (isThere) io.out(`${kind} ${name} is withdrawn`);
  else io.note(`there is no ${kind} '${name}' in the bucket`);
  return isThere ? 0 : 1;
}

/** Makes the bucket as a copy of the one in another JetStream domain. */
export async function directoryMirror(
  options: WithdrawOptions & { readonly domain: string; readonly replicas?: number },
  io: CommandIo,
): Promise<ExitCode> {
  const { to, domain } = options;
  await writing(options, (writer) => writer.mirror(domain));
  if (options.json) io.out(JSON.stringify({ to, domain }));
  else io.out(`${to} is a copy of the bucket in domain ${domain}`);
  return 0;
}
