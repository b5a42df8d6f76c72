import { LongshoreError } from "@longshore/core";
import { type Command, Option } from "commander";
import type { OnlineOptions } from "../compose/put-online.ts";
import { port } from "./define.ts";

/** Options of `longshore serve` about senders and their rights. */
export interface IdentityOptions {
  readonly identity?: string;
  readonly insecureNoIdentity: boolean;
  readonly pages?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly clientCert: "required" | "optional";
  readonly managePort?: number;
  readonly manageHost: string;
  readonly metricsPort?: number;
  readonly metricsHost?: string;
}

/** Adds them. `port` reads the number of a port. */
export function identityOptions(command: Command): Command {
  return command
    .option(
      "--identity <file>",
      "identity.yaml: senders and their rights (API keys, tokens, client certificates)",
    )
    .option("--insecure-no-identity", "allow addresses other than loopback without identity", false)
    .option(
      "--pages <origins>",
      "origins of web pages that may use this server, such as https://app.example, comma-separated; * for all. A page has the rights of anonymous senders or of the credentials that it sends",
    )
    .option("--tls-cert <file>", "certificate (PEM) of this server; read again when it changes")
    .option("--tls-key <file>", "key (PEM) of the certificate")
    .option("--client-ca <file>", "authorities (PEM) that sign client certificates; turns them on")
    .addOption(
      new Option("--client-cert <which>", "with --client-ca: whether clients must have a certificate")
        .choices(["required", "optional"])
        .default("required"),
    )
    .option("--manage-port <port>", "separate port for management", port("manage-port"))
    .option("--manage-host <address>", "address of the management port", "127.0.0.1")
    .option("--metrics-port <port>", "separate port for metrics", port("metrics-port"))
    .option("--metrics-host <address>", "address of the metrics port; default: --host");
}

/** Origins of pages. Throws `invalid-input` for what no browser sends as an origin. */
function pagesOf(text: string): "*" | readonly string[] {
  if (text === "*") return "*";
  return text.split(",").map((part) => {
    const origin = part.trim();
    // No browser sends a pattern.
    if (!origin.includes("*") && URL.canParse(origin) && new URL(origin).origin === origin) return origin;
    const why = `--pages: '${origin.slice(0, 100)}' is not an origin such as https://app.example (scheme, host and port, no path)`;
    throw new LongshoreError("invalid-input", "resolve", why);
  });
}

/** The options for a server. */
export function identityServeOptions(options: IdentityOptions): Partial<OnlineOptions> {
  const { identity, tlsCert, tlsKey, clientCa, managePort, metricsPort, metricsHost } = options;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new LongshoreError("invalid-input", "resolve", "--tls-cert and --tls-key go together");
  }
  if (clientCa !== undefined && tlsCert === undefined) {
    throw new LongshoreError("invalid-input", "resolve", "--client-ca needs --tls-cert and --tls-key");
  }
  return {
    insecureNoIdentity: options.insecureNoIdentity,
    manageHost: options.manageHost,
    ...(identity === undefined ? {} : { identity }),
    ...(options.pages === undefined ? {} : { pages: pagesOf(options.pages) }),
    ...(managePort === undefined ? {} : { managePort }),
    ...(metricsPort === undefined ? {} : { metricsPort }),
    ...(metricsHost === undefined ? {} : { metricsHost }),
    ...(tlsCert === undefined || tlsKey === undefined
      ? {}
      : {
          tls: {
            certificate: tlsCert,
            key: tlsKey,
            clientCertificates: options.clientCert,
            ...(clientCa === undefined ? {} : { clientAuthorities: clientCa }),
          },
        }),
  };
}
