import { LongshoreError } from "@longshore/core";
import { type Command, Option } from "commander";
import { isLoopbackHost } from "../compose/listeners.ts";
import { readTextFile } from "../connect/read-text.ts";
import { selfSigned } from "./self-signed.ts";

/** Options of a port that a proxy speaks gRPC to. */
export interface PickTlsOptions {
  readonly host: string;
  readonly tls?: "self-signed" | "none";
  readonly tlsCert?: string;
  readonly tlsKey?: string;
}

/** Adds them, without `--host`. */
export function tlsOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--tls <mode>",
        "self-signed: encrypted as gateways expect, with a certificate made at the start; none (default: none on loopback, else self-signed)",
      ).choices(["self-signed", "none"]),
    )
    .option("--tls-cert <file>", "certificate (PEM), instead of a self-signed one")
    .option("--tls-key <file>", "key (PEM) of the certificate");
}

function refused(why: string): LongshoreError {
  return new LongshoreError("invalid-input", "resolve", why);
}

/** Whether the port is spoken to with TLS. Throws `invalid-input` for options that contradict each other. */
export function isEncrypted({ tls, tlsCert, tlsKey, host }: PickTlsOptions): boolean {
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw refused("--tls-cert and --tls-key go together");
  }
  if (tlsCert !== undefined && tls !== undefined) {
    throw refused(`--tls ${tls} and --tls-cert exclude each other`);
  }
  return tlsCert !== undefined || (tls ?? (isLoopbackHost(host) ? "none" : "self-signed")) === "self-signed";
}

/** The certificate and key of the port; none where it is not encrypted. `name` is that of a self-signed certificate. */
export async function pickTls(
  options: PickTlsOptions,
  name: string,
): Promise<{ readonly tls?: { readonly cert: string; readonly key: string } }> {
  if (!isEncrypted(options)) return {};
  const { tlsCert, tlsKey } = options;
  if (tlsCert === undefined || tlsKey === undefined) {
    const { certificate: cert, key } = selfSigned(name, new Date());
    return { tls: { cert, key } };
  }
  return {
    tls: {
      cert: await readTextFile(tlsCert, "the certificate"),
      key: await readTextFile(tlsKey, "the key of the certificate"),
    },
  };
}
