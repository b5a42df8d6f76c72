import { type KeptDirectory, LongshoreError } from "@longshore/core";
import { systemClock, systemRandom } from "@longshore/nodejs";
import type { Command } from "commander";
import { type Dialling, type DirectoryOptions, openDirectory } from "../connect/directory.ts";
import { type BufferedEvents, bufferedEvents } from "../connect/buffered-events.ts";
import { isNats } from "../connect/nats-directory.ts";
import { readTextFile } from "../connect/read-text.ts";
import {
  connectionOptions,
  refuseUnused,
  type Shown,
  type ShownOptions,
  shownOf,
} from "./connection-options.ts";
import { number } from "./define.ts";

/** Where endpoints are found besides those of `--at`. */
export interface DirectoryCommandOptions extends ShownOptions<"directory" | "directory-servers"> {
  readonly directory?: string;
  /** Packages are signed with the operator's key, too. */
  readonly packagesInto?: string;
  /** A server finds its own entry in NATS, too. */
  readonly join?: string;
  readonly operatorKeys?: string;
  readonly directoryKeep?: string;
  readonly directoryHours?: number;
}

/** Adds them; without `--directory` where an argument says it. */
export function directoryOptions(command: Command, named = true): Command {
  const where =
    "directory of more servers: a file, the address of a directory server, dns:DOMAIN, dns://NAMESERVER/DOMAIN, nats:HOST:PORT/BUCKET, or kubernetes:NAMESPACE[/SERVICE[:PORT]]";
  const asking = connectionOptions(
    named ? command.option("--directory <where>", where) : command,
    "directory",
    "the directory server",
  );
  const forServers = "servers whose address the operator signed (--operator-keys)";
  return (named ? connectionOptions(asking, "directory-servers", forServers) : asking)
    .option(
      "--operator-keys <file>",
      "public keys of the operator; only entries signed with one of them are used",
    )
    .option(
      "--directory-keep <file>",
      "keep the last known state of the directory in this file across restarts",
    )
    .option(
      "--directory-hours <n>",
      "hours to use the last known state while the directory is away (default 24)",
      number("directory-hours", 0),
    );
}

/** A directory that a command opened. */
export interface CommandDirectory {
  readonly directory: KeptDirectory;
  /** The credentials for its servers. */
  readonly dialling: Dialling;
  /** Its events until there is an observer, and from then on. */
  readonly events: BufferedEvents;
}

/**
 * The credentials for servers of a directory: `--directory-servers-key` and its related options, and only for addresses that
 * the operator signed. An unsigned list could lead anywhere, and a server that joins under an entry without an address states
 * its own.
 */
export async function diallingOf(options: DirectoryCommandOptions): Promise<Dialling> {
  if (options.operatorKeys === undefined) {
    refuseUnused(
      "directory-servers",
      options,
      "needs --operator-keys: an address that the operator did not sign may lead anywhere",
    );
  }
  const shown = await shownOf("directory-servers", options);
  return ({ address }, word) =>
    word?.signature !== undefined && word.body.address !== undefined && word.body.address === address
      ? shown
      : {};
}

/** The credentials for the directory server. Throws `invalid-input` for credentials without a server that they are for. */
async function shownToDirectory(from: string, options: DirectoryCommandOptions): Promise<Shown> {
  if (!/^(https?|nats):/.test(from)) {
    refuseUnused("directory", options, "is for a directory server at http, https or nats, which this is not");
  }
  return shownOf("directory", options);
}

/** How a directory is opened, as options say. */
export async function sourceOptionsOf(
  from: string,
  options: DirectoryCommandOptions,
): Promise<DirectoryOptions> {
  const { operatorKeys, directoryKeep, directoryHours } = options;
  const shown = await shownToDirectory(from, options);
  const keys =
    operatorKeys === undefined ? undefined : await readTextFile(operatorKeys, "the operator's keys");
  return {
    from,
    ...shown,
    ...(keys === undefined ? {} : { operatorKeys: keys }),
    ...(directoryKeep === undefined ? {} : { keptIn: directoryKeep }),
    ...(directoryHours === undefined ? {} : { maxAgeMs: directoryHours * 3_600_000 }),
  };
}

/**
 * The directory that options name, once something is known of it; undefined when they name none.
 *
 * @param joined Whether servers are found by joining this one, too. Default false.
 */
export async function directoryOf(
  options: DirectoryCommandOptions,
  joined = false,
): Promise<CommandDirectory | undefined> {
  const { directory: from, operatorKeys, directoryKeep } = options;
  if (from === undefined) {
    refuseUnused("directory", options, "goes with --directory");
    if (!joined) refuseUnused("directory-servers", options, "goes with --directory");
    // The operator's keys are for more than the directory.
    const isUsed =
      joined || options.packagesInto !== undefined || (options.join !== undefined && isNats(options.join));
    if ((operatorKeys === undefined || isUsed) && directoryKeep === undefined) return undefined;
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      "--operator-keys and --directory-keep go with --directory",
    );
  }
  const dialling = await diallingOf(options);
  const events = bufferedEvents();
  const directory = await openDirectory(await sourceOptionsOf(from, options), {
    clock: systemClock(),
    random: systemRandom(),
    observer: events,
  });
  await directory.ready;
  return { directory, dialling, events };
}
