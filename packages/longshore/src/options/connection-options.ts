import { readFile } from "node:fs/promises";
import { LongshoreError } from "@longshore/core";
import type { Command } from "commander";
import type { ServerOptions } from "../connect/server-options.ts";

/**
 * The connections of a command, by the prefix of their options. Each has a credential and authorities of its own: the
 * credential of one server goes to no other.
 */
export type ConnectionName = "at" | "directory" | "directory-servers" | "join" | "packages";

type Camel<T extends string> = T extends `${infer A}-${infer B}` ? `${A}${Capitalize<B>}` : T;
type Part = "Key" | "Ca" | "Cert" | "CertKey";

/** The options of a connection: files, since other users of a machine can read arguments. */
export type ShownOptions<C extends ConnectionName> = { readonly [K in `${Camel<C>}${Part}`]?: string };

/** Whether the credential for the servers of `--at` may be sent in the clear, since something else encrypts. */
export interface OverPlainHttp {
  readonly atOverPlainHttp?: boolean;
}

/** The credentials for a server, and the authorities that sign trusted ones. */
export type Shown = Pick<ServerOptions, "credentials" | "tls">;

/** Adds the options of a connection. `to` names what it leads to, such as `the directory server`. */
export function connectionOptions(command: Command, connection: ConnectionName, to: string): Command {
  return command
    .option(`--${connection}-key <file>`, `file with the API key or token for ${to}, shown to no other`)
    .option(`--${connection}-ca <file>`, `authorities (PEM) that sign ${to}; default: the system's`)
    .option(`--${connection}-cert <file>`, `client certificate (PEM) for ${to}`)
    .option(`--${connection}-cert-key <file>`, "key (PEM) of that client certificate");
}

/** The options of a connection that are given, by their names on the command line, each with its file. */
function given(
  connection: ConnectionName,
  options: ShownOptions<ConnectionName>,
): ReadonlyMap<"key" | "ca" | "cert" | "cert-key", string> {
  const name = connection === "directory-servers" ? "directoryServers" : connection;
  const files = {
    key: options[`${name}Key`],
    ca: options[`${name}Ca`],
    cert: options[`${name}Cert`],
    "cert-key": options[`${name}CertKey`],
  } as const;
  const found = new Map<keyof typeof files, string>();
  for (const part of ["key", "ca", "cert", "cert-key"] as const) {
    const file = files[part];
    if (file !== undefined) found.set(part, file);
  }
  return found;
}

/** Whether any option of a connection is given. */
export function isShown(connection: ConnectionName, options: ShownOptions<ConnectionName>): boolean {
  return given(connection, options).size > 0;
}

/** Throws `invalid-input` where options of a connection are given that there is not; `why` ends the sentence. */
export function refuseUnused(
  connection: ConnectionName,
  options: ShownOptions<ConnectionName>,
  why: string,
): void {
  const [first] = given(connection, options).keys();
  if (first === undefined) return;
  throw new LongshoreError("invalid-input", "resolve", `--${connection}-${first} ${why}`);
}

async function text(file: string, option: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "it cannot be read";
    throw new LongshoreError("invalid-input", "resolve", `${option} '${file}': ${code}`, { cause: thrown });
  }
}

/** Reads what the servers of a connection are shown and believed by. Throws `invalid-input` for a file that cannot be read. */
export async function shownOf(
  connection: ConnectionName,
  options: ShownOptions<ConnectionName> & OverPlainHttp,
): Promise<Shown> {
  const files = given(connection, options);
  if (files.has("cert") !== files.has("cert-key")) {
    const pair = `--${connection}-cert and --${connection}-cert-key`;
    throw new LongshoreError("invalid-input", "resolve", `${pair} go together`);
  }
  const read = new Map<string, string>();
  for (const [part, file] of files) read.set(part, await text(file, `--${connection}-${part}`));
  const [bearer, authorities, certificate, key] = ["key", "ca", "cert", "cert-key"].map((part) =>
    read.get(part),
  );
  const plain = connection === "at" && options.atOverPlainHttp === true ? { overPlainHttp: true } : {};
  const tls = {
    ...(authorities === undefined ? {} : { authorities }),
    ...(certificate === undefined ? {} : { certificate }),
    ...(key === undefined ? {} : { key }),
  };
  return {
    ...(bearer === undefined ? {} : { credentials: { bearer, ...plain } }),
    ...(Object.keys(tls).length === 0 ? {} : { tls }),
  };
}
