import { LongshoreError, type Observer, type Tier } from "@longshore/core";
import { type Command, Option } from "commander";
import { setTimeout as after } from "node:timers/promises";
import { isLoopbackHost } from "../compose/listeners.ts";
import type { Online, OnlineOptions } from "../compose/put-online.ts";
import { type CheckCommandOptions, checkOptions } from "./check-options.ts";
import type { LiveSettings } from "../settings/live-settings.ts";
import { type AtOptions, atOptions } from "./at-options.ts";
import { collect, number, port } from "./define.ts";
import { atPriceOption } from "./price-options.ts";
import { type DirectoryCommandOptions, directoryOptions } from "./directory-options.ts";
import { type IdentityOptions, identityOptions, identityServeOptions } from "./identity-options.ts";
import { type JoinCommandOptions, joinOptions, joinServeOptions } from "./join-options.ts";
import { type CommandIo, logged, stopped } from "./io.ts";
import { type PortLimitOptions, portLimitOptions, portLimits } from "./port-limit-options.ts";
import { type ObserveOptions, observeOptions, observeServeOptions } from "./observe-options.ts";

/** Options of every command that puts something on the network. */
export interface OnlineCommandOptions
  extends
    AtOptions,
    DirectoryCommandOptions,
    JoinCommandOptions,
    IdentityOptions,
    ObserveOptions,
    CheckCommandOptions,
    PortLimitOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined: the port after the first, when it is free; false: no gRPC. */
  readonly grpcPort?: number | false;
  readonly tier: Tier;
  readonly zone: string;
  /** Tell the servers used the tenant of each request. */
  readonly atTenants: boolean;
  readonly maxBody: number;
  readonly aliases?: string;
  readonly json: boolean;
}

/** Adds them. `at` says what the servers of `--at` are for. */
export function onlineOptions(command: Command, at: string): Command {
  identityOptions(command);
  portLimitOptions(command);
  return checkOptions(
    joinOptions(directoryOptions(atPriceOption(atOptions(observeOptions(command, number))))),
    number,
  )
    .option(
      "--config <file>",
      "longshore.yaml: all of these options in one file; flags and LONGSHORE_* variables override it",
    )
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <port>", "port; 0 picks a free one", port("port"), 8000)
    .option(
      "--grpc-port <port>",
      "port for gRPC (default: the one after --port if it is free); 0 picks a free one",
      port("grpc-port", "; --no-grpc-port turns gRPC off"),
    )
    .option("--no-grpc-port", "no gRPC")
    .addOption(
      new Option("--tier <tier>", "tier of this endpoint")
        .choices(["device", "edge", "cloud"])
        .default("edge"),
    )
    .option("--zone <zone>", "zone in which it processes, such as eu/de/store-7", "local")
    .option("--at <url>", at, collect, [])
    .option("--at-tenants", "tell the servers of --at the tenant of each request", false)
    .option("--aliases <file>", "file that keeps aliases (longshore rollout)")
    .option("--max-body <bytes>", "largest request body", number("max-body", 1), 64 * 2 ** 20)
    .option("--json", "print JSON lines", false);
}

/** Events as JSON, for a program that started the server. */
function printer(io: CommandIo): Observer {
  const to = io.running ?? io;
  return {
    record(event) {
      if (event.kind !== "stage-ended" && event.kind !== "bytes-acknowledged") to.out(JSON.stringify(event));
    },
  };
}

/** Whether two addresses of listeners overlap: a wildcard takes the port of all. */
function overlap(a: string, b: string): boolean {
  return a === b || [a, b].some((host) => host === "0.0.0.0" || host === "::");
}

/** Throws `invalid-configuration` for two listeners on one port. */
function checkPorts(options: OnlineCommandOptions): void {
  const { host, port: data, grpcPort, manageHost, managePort, metricsHost = host, metricsPort } = options;
  const listeners = [
    { name: "--port (listeners.port)", host, on: data },
    { name: "--grpc-port (listeners.grpcPort)", host, on: grpcPort },
    { name: "--manage-port (listeners.managePort)", host: manageHost, on: managePort },
    { name: "--metrics-port (listeners.metricsPort)", host: metricsHost, on: metricsPort },
  ].filter(({ on }) => typeof on === "number" && on !== 0);
  for (const [at, one] of listeners.entries()) {
    const other = listeners.slice(0, at).find(({ on, host: its }) => on === one.on && overlap(its, one.host));
    if (!other) continue;
    const why = `${other.name} and ${one.name} are both ${String(one.on)} on ${one.host}; each listener needs a port of its own`;
    throw new LongshoreError("invalid-configuration", "resolve", why);
  }
}

/** The options for a server. */
export async function onlineServeOptions(
  options: OnlineCommandOptions,
  io: CommandIo,
  live?: LiveSettings,
): Promise<OnlineOptions> {
  const { grpcPort = "next" } = options;
  checkPorts(options);
  return {
    host: options.host,
    port: options.port,
    connections: portLimits(options),
    ...(grpcPort === false ? {} : { grpcPort }),
    tier: options.tier,
    zone: options.zone,
    maxBodyBytes: options.maxBody,
    ...(options.aliases === undefined ? {} : { aliases: options.aliases }),
    report: logged(io),
    ...(await joinServeOptions(options, logged(io))),
    ...identityServeOptions(options),
    ...observeServeOptions(options, io, live),
    ...(options.json ? { observer: printer(io) } : {}),
  };
}

/** Warnings about options that an operator probably did not mean. */
function warnings(options: OnlineCommandOptions): readonly string[] {
  const { host, identity, tlsCert, insecureNoIdentity } = options;
  if (isLoopbackHost(host)) return [];
  return [
    ...(identity === undefined && insecureNoIdentity
      ? ["no identity: every client that reaches this server may infer with its models"]
      : []),
    ...(identity !== undefined && tlsCert === undefined
      ? ["no TLS: credentials travel readable unless something before this server encrypts"]
      : []),
  ];
}

/** The receiver of the event that the ports of a server listen. */
export type ListeningCallback = NonNullable<OnlineOptions["listening"]>;

/**
 * The server once it has started; undefined if the command is stopped before that. Then clients of the models loaded so far get
 * their answers first.
 */
export async function startedOrStopped<T extends Online>(
  start: (listening: ListeningCallback) => Promise<T>,
  { drainSeconds }: Pick<OnlineCommandOptions, "drainSeconds">,
  io: CommandIo,
): Promise<T | undefined> {
  let drain: (graceMs: number) => Promise<void> = () => Promise.resolve();
  const starting = start((how) => void (drain = how));
  const started = await Promise.race([starting, stopped(io).then(() => undefined)]);
  if (started) return started;
  logged(io)("stopped before it had started");
  await drain(drainSeconds * 1000);
  void starting.then((late) => late.close(0)).catch(() => undefined);
  return undefined;
}

/** How long a server may take to send its last spans and to release its models, after its time has passed. */
const lastWordsMs = 10_000;
/** Longer timers of Node.js are over at once. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * Says where a server listens and what it serves (`detail`, as JSON under `key`), serves until SIGINT or SIGTERM, then
 * drains.
 */
export async function serveUntilStopped(
  server: Online,
  options: OnlineCommandOptions,
  about: { readonly key: string; readonly json: readonly unknown[]; readonly text: string },
  io: CommandIo,
): Promise<void> {
  const { address, grpcAddress, manageAddress, metricsAddress } = server;
  if (options.json)
    io.out(
      JSON.stringify({
        listening: address,
        grpc: grpcAddress,
        manage: manageAddress,
        metrics: metricsAddress,
        [about.key]: about.json,
      }),
    );
  else {
    io.out(`listening on ${address} as ${options.tier} in zone ${options.zone}`);
    for (const warning of warnings(options)) logged(io)(warning);
    if (grpcAddress !== undefined) io.out(`gRPC on ${grpcAddress}`);
    if (manageAddress !== undefined) io.out(`management on ${manageAddress}`);
    if (metricsAddress !== undefined) io.out(`metrics on ${metricsAddress}/metrics`);
    io.out(`${about.key}: ${about.text}`);
  }
  await stopped(io);
  logged(io)("draining: new work is refused, work under way is finished");
  const limitMs = options.drainSeconds * 1000;
  const closed = server.close(limitMs, options.lingerSeconds * 1000).then(() => true);
  const late = after(Math.min(limitMs + lastWordsMs, longestTimerMs), false, { ref: false });
  if (await Promise.race([closed, late])) return;
  // A run, or a load, inside the runtime can be ended only with the process.
  logged(io)("work is under way still that cannot be ended: the process ends with it");
  io.end?.();
  await closed;
}
