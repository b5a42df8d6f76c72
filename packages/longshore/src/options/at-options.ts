import { readFile } from "node:fs/promises";
import { LongshoreError } from "@longshore/core";
import { type Command, Option } from "commander";
import type { ServerOptions } from "../compose/dial.ts";

/** Servers that a command talks to, and what it shows them. Files, since other users of a machine can read arguments. */
export interface AtOptions {
  readonly at: readonly string[];
  readonly atKind?: NonNullable<ServerOptions["kind"]>;
  readonly atKey?: string;
  readonly atCa?: string;
  readonly atCert?: string;
  readonly atCertKey?: string;
}

/** Says what protocol the servers of `--at` speak. */
export function atKindOption(): Option {
  return new Option("--at-kind <kind>", "what the servers of --at are: oip for Triton, KServe and others")
    .choices(["longshore", "oip", "json"])
    .default("longshore");
}

/** What requests to the servers of `--at` are held to, and what requests of clients are that do not say. */
export interface BehindOptions extends AtOptions {
  readonly atTenants: boolean;
  readonly atTrust: NonNullable<ServerOptions["trust"]>;
  readonly atZone: string;
  readonly atMetrics?: string;
  readonly atGrpc?: string;
  readonly dataClass: string;
}

/** Adds these. */
export function behindOptions(command: Command): Command {
  return command
    .addOption(atKindOption())
    .addOption(
      new Option("--at-trust <trust>", "how far the servers of --at are trusted")
        .choices(["listed", "operated", "attested"])
        .default("listed"),
    )
    .option(
      "--at-metrics <where>",
      "where servers of kind oip or json show metrics: :8002, a URL, or none (default: /metrics there and two ports on)",
    )
    .option(
      "--at-grpc <where>",
      "where servers of kind oip or json speak gRPC, for models that answer several times: :8001 or a URL (default: none)",
    )
    .option("--at-zone <zone>", "where the servers of --at process", "unknown")
    .option(
      "--data-class <class>",
      "data class of requests that state none: public, internal, personal; 'unknown' refuses them",
      "unknown",
    );
}

/** The servers behind one of ours, as these options describe them. */
export async function serversBehind(options: BehindOptions): Promise<readonly ServerOptions[]> {
  const {
    atTrust: trust,
    atZone: zone,
    atTenants: forwardsTenants,
    atMetrics: metrics,
    atGrpc: grpc,
  } = options;
  return (await serversOf(options)).map((one) => ({
    ...one,
    trust,
    zone,
    forwardsTenants,
    ...(metrics === undefined ? {} : { metrics }),
    ...(grpc === undefined ? {} : { grpc }),
  }));
}

/** Adds the options about credentials for the servers of `--at`. */
export function atOptions(command: Command): Command {
  return command
    .option("--at-key <file>", "file with the API key or token that the servers of --at want")
    .option("--at-ca <file>", "authorities (PEM) that sign the servers of --at; default: the system's")
    .option("--at-cert <file>", "client certificate (PEM) for the servers of --at")
    .option("--at-cert-key <file>", "key (PEM) of the client certificate");
}

async function text(file: string, option: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "it cannot be read";
    throw new LongshoreError("invalid-input", "resolve", `${option} '${file}': ${code}`, { cause: thrown });
  }
}

/** What servers are shown and believed by. */
export async function shownOf(
  options: Omit<AtOptions, "at" | "atKind">,
): Promise<Pick<ServerOptions, "credentials" | "tls">> {
  const { atKey, atCa, atCert, atCertKey } = options;
  if ((atCert === undefined) !== (atCertKey === undefined)) {
    throw new LongshoreError("invalid-input", "resolve", "--at-cert and --at-cert-key go together");
  }
  const bearer = atKey === undefined ? undefined : await text(atKey, "--at-key");
  const tls = {
    ...(atCa === undefined ? {} : { authorities: await text(atCa, "--at-ca") }),
    ...(atCert === undefined ? {} : { certificate: await text(atCert, "--at-cert") }),
    ...(atCertKey === undefined ? {} : { key: await text(atCertKey, "--at-cert-key") }),
  };
  return {
    ...(bearer === undefined ? {} : { credentials: { bearer } }),
    ...(Object.keys(tls).length === 0 ? {} : { tls }),
  };
}

/** The servers with what they are shown. */
export async function serversOf(options: AtOptions): Promise<readonly ServerOptions[]> {
  const shown = await shownOf(options);
  const kind = options.atKind === undefined ? {} : { kind: options.atKind };
  return options.at.map((address) => ({ address, ...kind, ...shown }));
}
