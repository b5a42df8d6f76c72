import { type Command, Option } from "commander";
import type { ConnectionOptions } from "../compose/listeners.ts";
import { number } from "./define.ts";

/** The limits of a server's connections, as options of a command. */
export interface PortLimitOptions {
  readonly http: "own" | "node";
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress?: number;
  readonly probeConnections: number;
  readonly headersSeconds: number;
  readonly requestSeconds: number;
  readonly stallSeconds: number;
  readonly replySeconds: number;
  readonly idleSeconds: number;
  readonly grpcIdleSeconds: number;
}

/** Longer timers of Node.js are over at once. */
const longestSeconds = 2_000_000;

/** Adds them. */
export function portLimitOptions(command: Command): Command {
  const seconds = (name: string): ((text: string) => number) => number(name, 0.01, longestSeconds);
  return command
    .addOption(
      new Option("--http <code>", "code that reads HTTP: ours, or Node.js's node:http and node:http2")
        .choices(["own", "node"])
        .default("own"),
    )
    .option(
      "--max-connections <n>",
      "connections that each port serves at one time",
      number("max-connections", 1),
      1024,
    )
    .option(
      "--max-connections-per-address <n>",
      "of these, connections from one source address; default: half",
      number("max-connections-per-address", 1),
    )
    .option(
      "--probe-connections <n>",
      "connections beyond the limits that are served health probes only",
      number("probe-connections", 0),
      64,
    )
    .option(
      "--headers-seconds <s>",
      "time for a TLS handshake, and for the headers of a request",
      seconds("headers-seconds"),
      10,
    )
    .option("--request-seconds <s>", "time for a whole request to arrive", seconds("request-seconds"), 300)
    .option("--stall-seconds <s>", "time without any byte of a request's body", seconds("stall-seconds"), 30)
    .option(
      "--reply-seconds <s>",
      "time without any progress of a reply that the client does not read",
      seconds("reply-seconds"),
      30,
    )
    .option(
      "--idle-seconds <s>",
      "how long an HTTP connection without requests is kept",
      seconds("idle-seconds"),
      30,
    )
    .option(
      "--grpc-idle-seconds <s>",
      "how long a gRPC connection without calls is kept",
      seconds("grpc-idle-seconds"),
      300,
    );
}

/** The options for a server. */
export function portLimits(options: PortLimitOptions): ConnectionOptions {
  const { http, maxConnections, maxConnectionsPerAddress, probeConnections } = options;
  return {
    http,
    maxConnections,
    ...(maxConnectionsPerAddress === undefined ? {} : { maxConnectionsPerAddress }),
    probeConnections,
    // The headers are part of the request, and Node.js refuses a longer time for them.
    headersTimeoutMs: Math.min(options.headersSeconds, options.requestSeconds) * 1000,
    requestTimeoutMs: options.requestSeconds * 1000,
    stallTimeoutMs: options.stallSeconds * 1000,
    replyTimeoutMs: options.replySeconds * 1000,
    keepAliveMs: options.idleSeconds * 1000,
    grpcIdleTimeoutMs: options.grpcIdleSeconds * 1000,
  };
}
