import { type DirectoryEntry, LongshoreError, type Signed } from "@longshore/core";
import type { Command } from "commander";
import { readEntry } from "../connect/entry-file.ts";
import { readTextFile } from "../connect/read-text.ts";
import type { JoinOptions } from "../connect/join.ts";
import { connectionOptions, isShown, type ShownOptions, shownOf } from "./connection-options.ts";

/** Options of `longshore serve` about the directory that it joins. */
export interface JoinCommandOptions extends ShownOptions<"join"> {
  readonly join?: string;
  readonly advertise?: string;
  readonly entry?: string;
  readonly operatorKeys?: string;
  readonly id?: string;
}

/** Adds them. */
export function joinOptions(command: Command): Command {
  const joining = command.option(
    "--join <url>",
    "join this directory server, or nats:HOST/BUCKET, so that others find this server",
  );
  return connectionOptions(joining, "join", "the directory server of --join")
    .option("--advertise <url>", "address at which others reach this server (default: where it listens)")
    .option("--entry <file>", "signed entry of this server (longshore directory sign)")
    .option("--id <name>", "server ID (default: host name and port with --join, otherwise random)");
}

/**
 * The entry of a file as it was last good, read each time. Only a later one of the same endpoint replaces it: a reader that saw
 * a serial believes no earlier one.
 */
function latestEntry(
  file: string,
  first: Signed<DirectoryEntry>,
  report: (text: string) => void,
): () => Promise<Signed<DirectoryEntry>> {
  let latest = first;
  let told = "";
  const tell = (text: string): void => {
    if (text !== told) report(text);
    told = text;
  };
  return async () => {
    try {
      const found = await readEntry(file);
      const { id, serial } = found.body;
      if (id !== latest.body.id) tell(`entry: the file is of ${id} now; that of ${latest.body.id} holds on`);
      else if (serial > latest.body.serial) {
        latest = found;
        tell(`entry: the file changed and was read again (serial ${serial})`);
      } else if (serial === latest.body.serial) told = "";
    } catch (thrown) {
      const { message } = LongshoreError.from(thrown, "resolve", "reading the entry again");
      tell(`entry: the file is not good; the entry before holds on (${message})`);
    }
    return latest;
  };
}

/** The options for a server. Throws `invalid-input` and `invalid-configuration`. */
export async function joinServeOptions(
  options: JoinCommandOptions & { readonly host: string },
  report: (text: string) => void,
): Promise<{ readonly join?: JoinOptions; readonly id?: string }> {
  const { join, advertise, entry, operatorKeys, id, host } = options;
  const named = id === undefined ? {} : { id };
  if (join === undefined) {
    if (advertise === undefined && entry === undefined && !isShown("join", options)) return named;
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      "--advertise, --entry, --join-key, --join-ca and --join-cert go with --join",
    );
  }
  if (advertise === undefined && (host === "0.0.0.0" || host === "::")) {
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      `others cannot reach ${host}: say with --advertise how they do`,
    );
  }
  if (
    advertise !== undefined &&
    !/^https?:$/.test(URL.canParse(advertise) ? new URL(advertise).protocol : "")
  ) {
    const what = `--advertise wants how others reach this server, such as http://10.0.0.7:8000, not '${advertise}'`;
    throw new LongshoreError("invalid-input", "resolve", what);
  }
  const signed = entry === undefined ? undefined : await readEntry(entry);
  const keys =
    operatorKeys === undefined ? undefined : await readTextFile(operatorKeys, "the operator's keys");
  return {
    ...(id === undefined && signed ? { id: signed.body.id } : named),
    join: {
      address: join,
      ...(await shownOf("join", options)),
      ...(advertise === undefined ? {} : { advertise }),
      ...(entry !== undefined && signed ? { entry: latestEntry(entry, signed, report) } : {}),
      ...(keys === undefined ? {} : { operatorKeys: keys }),
    },
  };
}
