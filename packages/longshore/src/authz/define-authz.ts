import { collect, type Defining, help, number, port } from "../options/define.ts";
import { tlsOptions } from "../pick/tls.ts";
import type { AuthzOptions } from "./command.ts";

/** `authz`. */
export function defineAuthz({ program, action, io }: Defining): void {
  const checks = program
    .command("authz")
    .description("check senders, rights and limits of requests for a proxy (Envoy ext_authz)")
    .requiredOption("--identity <file>", "identity.yaml: senders and their rights (API keys, tokens)")
    .option("--limits <file>", "limits of tenants (limits.yaml): requestsPerSecond, bytesPerSecond")
    .option(
      "--upstream-key <file>",
      "file with the proxy's own key or token at its servers, which replaces that of the client (default: none)",
    )
    .option(
      "--data-class <class>",
      "data class of requests that state none (default: they stay without, and servers decide)",
    )
    .option("--any-path", "let other paths than those of the protocol through, with the right infer", false)
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <port>", "port (gRPC); 0 picks a free one", port("port"), 9003);
  help(
    tlsOptions(checks)
      .option("--drain-seconds <n>", "time for calls under way when it stops", number("drain-seconds", 0), 30)
      .option("--print-envoy", "print a configuration of Envoy for these options, and exit", false)
      .option("--to <url>", "in --print-envoy: where requests go on; repeat for several", collect, [])
      .option("--envoy-host <address>", "address that Envoy listens on, in --print-envoy", "127.0.0.1")
      .option(
        "--envoy-port <port>",
        "port that Envoy listens on, in --print-envoy",
        port("envoy-port"),
        10_000,
      )
      .option("--json", "print JSON lines", false)
      .action(action(async (options: AuthzOptions) => (await import("./command.ts")).authz(options, io))),
    "longshore authz --identity identity.yaml --limits limits.yaml",
    "longshore authz --identity identity.yaml --print-envoy --to http://10.0.0.5:8000 > envoy.yaml",
    "longshore pick --at http://10.0.0.5:8000 --print-envoy --authz 127.0.0.1:9003 > envoy.yaml",
  );
}
