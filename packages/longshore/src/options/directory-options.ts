import { type KeptDirectory, LongshoreError } from "@longshore/core";
import { systemClock, systemRandom } from "@longshore/nodejs";
import type { Command } from "commander";
import { type Dialling, openDirectory } from "../compose/directory.ts";
import { type HeldEvents, heldEvents } from "../compose/held-events.ts";
import { isNats } from "../compose/nats-directory.ts";
import { readText } from "../compose/read-text.ts";
import { type AtOptions, shownOf } from "./at-options.ts";
import { number } from "./define.ts";

/** Where places are found besides those of `--at`. */
export interface DirectoryCommandOptions extends AtOptions {
  readonly directory?: string;
  /** Packages are signed with the operator's key, too. */
  readonly packagesInto?: string;
  /** What a server finds of itself in NATS, too. */
  readonly join?: string;
  readonly operatorKeys?: string;
  readonly directoryKeep?: string;
  readonly directoryHours?: number;
}

/** Adds them; without `--directory` where an argument says it. */
export function directoryOptions(command: Command, named = true): Command {
  const where =
    "more servers, which may come and go: a file, the address of a server that keeps a directory, dns:DOMAIN, dns://NAMESERVER/DOMAIN, or nats:HOST:PORT/BUCKET";
  return (named ? command.option("--directory <where>", where) : command)
    .option(
      "--operator-keys <file>",
      "public keys of the operator; then only entries that one of them signed are believed",
    )
    .option(
      "--directory-keep <file>",
      "keep the last known state of the directory there, for after a restart",
    )
    .option(
      "--directory-hours <n>",
      "use what is known for so long when the directory is away (default 24)",
      number("directory-hours", 0),
    );
}

/** A directory that a command opened. */
export interface CommandDirectory {
  readonly directory: KeptDirectory;
  readonly dialling: Dialling;
  /** What it told of itself until somebody listens, and from then on. */
  readonly events: HeldEvents;
}

/** The directory that options name, once something is known of it; undefined when they name none. */
export async function directoryOf(options: DirectoryCommandOptions): Promise<CommandDirectory | undefined> {
  const { directory: from, operatorKeys, directoryKeep, directoryHours } = options;
  if (from === undefined) {
    const isUsed = options.packagesInto !== undefined || (options.join !== undefined && isNats(options.join));
    if ((operatorKeys === undefined || isUsed) && directoryKeep === undefined) return undefined;
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      "--operator-keys and --directory-keep go with --directory",
    );
  }
  const shown = await shownOf(options);
  const keys = operatorKeys === undefined ? undefined : await readText(operatorKeys, "the operator's keys");
  const events = heldEvents();
  const directory = await openDirectory(
    {
      from,
      ...shown,
      ...(keys === undefined ? {} : { operatorKeys: keys }),
      ...(directoryKeep === undefined ? {} : { keptIn: directoryKeep }),
      ...(directoryHours === undefined ? {} : { maxAgeMs: directoryHours * 3_600_000 }),
    },
    { clock: systemClock(), random: systemRandom(), observer: events },
  );
  await directory.ready;
  // Credentials go to addresses that the operator signed, and not to whatever somebody wrote into a list.
  return { directory, dialling: () => (keys === undefined ? {} : shown), events };
}
