import type { RetryOptions } from "@longshore/core/internal";
import { type OpenBeliefs, systemClock } from "@longshore/nodejs";
import { type Command, Option } from "commander";
import { kindNames, kindProducts, usualKind } from "../connect/kinds/list.ts";
import type { ServerOptions } from "../connect/server-options.ts";
import { keptBeliefs } from "../compose/kept-beliefs.ts";
import { type FileEndpoint, serversOfFile } from "./file-endpoints.ts";
import { atPricesOf } from "./price-options.ts";
import {
  connectionOptions,
  type OverPlainHttp,
  refuseUnused,
  type ShownOptions,
  shownOf,
} from "./connection-options.ts";
import { number } from "./define.ts";
import { type CommandIo, logged } from "./io.ts";

/** Servers that a command talks to, and what it shows them. */
export interface AtOptions extends ShownOptions<"at">, OverPlainHttp {
  readonly at: readonly string[];
  readonly atKind?: NonNullable<ServerOptions["kind"]>;
  readonly atPrice?: readonly string[];
}

/** Says what protocol the servers of `--at` speak. */
export function atKindOption(): Option {
  return new Option("--at-kind <kind>", `protocol of the servers of --at; ${kindProducts}`)
    .choices(kindNames)
    .default(usualKind);
}

/** The properties of the servers of `--at`, and the data class of client requests that state none. */
export interface AboutServers extends AtOptions {
  readonly atTrust: NonNullable<ServerOptions["trust"]>;
  readonly atZone: string;
  readonly atMetrics?: string;
  readonly dataClass: string;
}

/** The same where requests are sent to these servers. */
export interface ServersAtOptions extends AboutServers {
  readonly atTenants: boolean;
  readonly atGrpc?: string;
  /** Rounds of retries of one request. */
  readonly retries: number;
  /** File that keeps beliefs, or `off`. */
  readonly beliefs?: string;
  /** Those of the configuration file, which say all about themselves; only without `--at`. */
  readonly endpoints?: readonly FileEndpoint[];
}

/** Adds what is said of servers. */
export function aboutServers(command: Command): Command {
  return command
    .addOption(atKindOption())
    .addOption(
      new Option("--at-trust <trust>", "trust of the servers of --at")
        .choices(["listed", "operated", "vouched"])
        .default("listed"),
    )
    .option(
      "--at-metrics <where>",
      "metrics address of servers of kind oip or json: :8002, a URL, or none (default: /metrics there and two ports on)",
    )
    .option("--at-zone <zone>", "zone of the servers of --at", "unknown")
    .option(
      "--data-class <class>",
      "data class of requests that state none: public, internal, personal; 'unknown' refuses them",
      "unknown",
    );
}

/** Adds these, and how requests are sent to the servers. */
export function behindOptions(command: Command): Command {
  return aboutServers(command)
    .option(
      "--at-grpc <where>",
      "gRPC address of servers of kind oip or json, for models with several answers: :8001 or a URL (default: none)",
    )
    .option(
      "--retries <count>",
      "retry rounds of a failed request within its deadline; 0 for none",
      number("retries", 0, 100),
      10,
    )
    .option(
      "--beliefs <file>",
      "file that keeps learned beliefs about links and servers over a restart, or 'off' (default: beliefs.json of longshore in $XDG_CACHE_HOME or ~/.cache)",
    );
}

/** How requests are resent to the servers that one of ours uses. */
export function retryOf({ retries }: ServersAtOptions): { readonly retry: RetryOptions } {
  return { retry: { mostRounds: retries } };
}

/** Opens the beliefs about links and servers that a forwarding server keeps over a restart; undefined if nothing is kept. */
export function beliefsOf(
  { beliefs }: Pick<ServersAtOptions, "beliefs">,
  io: CommandIo,
): Promise<OpenBeliefs | undefined> {
  return keptBeliefs(beliefs, {
    clock: systemClock(),
    environment: io.environment,
    report: ({ message }) => logged(io)(message),
  });
}

/** The servers that one of ours uses, as these options describe them. */
export async function serversAt(options: ServersAtOptions): Promise<readonly ServerOptions[]> {
  const {
    atTrust: trust,
    atZone: zone,
    atTenants: forwardsTenants,
    atMetrics: metrics,
    atGrpc: grpc,
  } = options;
  if (options.endpoints) return serversOfFile(options.endpoints);
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
  return connectionOptions(command, "at", "the servers of --at").option(
    "--at-over-plain-http",
    "send --at-key also without TLS, where a mesh or the network protects it",
    false,
  );
}

/** The servers with what they are shown. Throws `invalid-input` for credentials without a server that they are for. */
export async function serversOf(options: AtOptions): Promise<readonly ServerOptions[]> {
  if (options.at.length === 0) {
    refuseUnused(
      "at",
      options,
      "is for the servers of --at, and none is given: each other connection has such options of its own, as --directory-key and --packages-key",
    );
  }
  const shown = await shownOf("at", options);
  const kind = options.atKind === undefined ? {} : { kind: options.atKind };
  const prices = atPricesOf(options.atPrice ?? [], options.at);
  return options.at.map((address) => ({ address, ...kind, ...prices(address), ...shown }));
}
