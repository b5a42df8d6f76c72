import type { Observer, Tier } from "@longshore/core";
import type { RuntimeName } from "../compose/open-engine.ts";
import { openModel } from "../compose/open-model.ts";
import { forwardingTo } from "../compose/open-offloader.ts";
import { isLoopbackHost } from "../compose/listeners.ts";
import { serve as startServer } from "../compose/serve.ts";
import { type AtOptions, serversOf } from "./at-options.ts";
import { checkPort, type IdentityOptions, identityServeOptions } from "./identity-options.ts";
import type { CommandIo, ExitCode } from "./io.ts";
import { type ObserveOptions, observeServeOptions } from "./observe-options.ts";
import { type RepositoryOptions, repositoryServeOptions } from "./repository-options.ts";
import { type TritonOptions, tritonServeOptions } from "./triton-options.ts";

/** Options of `longshore serve`. */
export interface ServeCommandOptions
  extends AtOptions, IdentityOptions, TritonOptions, RepositoryOptions, ObserveOptions {
  readonly host: string;
  readonly port: number;
  /** Undefined: the port after the first, when it is free; false: no gRPC. */
  readonly grpcPort?: number | false;
  readonly tier: Tier;
  readonly zone: string;
  /** Tell the servers behind for which tenant each request is. */
  readonly atTenants: boolean;
  readonly workers?: number;
  readonly runtime: RuntimeName;
  readonly maxBody: number;
  readonly queue: number;
  readonly allowManagement: boolean;
  readonly json: boolean;
}

/** What happens, as JSON for a program that started the server. */
function printer(io: CommandIo): Observer {
  return {
    record(event) {
      if (event.kind !== "stage-ended" && event.kind !== "bytes-acknowledged") io.out(JSON.stringify(event));
    },
  };
}

/** What an operator should have meant. */
function warnings({ host, identity, tlsCert, insecureNoIdentity }: ServeCommandOptions): readonly string[] {
  if (isLoopbackHost(host)) return [];
  return [
    ...(identity === undefined && insecureNoIdentity
      ? ["warning: no identity: everybody who reaches this server may infer with its models"]
      : []),
    ...(identity !== undefined && tlsCert === undefined
      ? ["warning: no TLS: credentials travel readable unless something before this server encrypts"]
      : []),
  ];
}

/** Puts the models of a repository on a port until SIGINT or SIGTERM, then drains. */
export async function serve(
  repository: string,
  options: ServeCommandOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const opened = await openModel(repository);
  checkPort(options.port);
  const { grpcPort = "next" } = options;
  if (typeof grpcPort === "number") checkPort(grpcPort);
  const behind = (await serversOf(options)).map((one) => ({ ...one, forwardsTenants: options.atTenants }));
  const server = await startServer({
    store: opened.store,
    host: options.host,
    port: options.port,
    ...(grpcPort === false ? {} : { grpcPort }),
    tier: options.tier,
    zone: options.zone,
    runtime: options.runtime,
    maxBodyBytes: options.maxBody,
    maxQueued: options.queue,
    allowManagement: options.allowManagement || options.managePort !== undefined,
    report: (text) => io.note(text),
    ...identityServeOptions(options),
    ...tritonServeOptions(options),
    ...repositoryServeOptions(options),
    ...observeServeOptions(options, io),
    ...(options.json ? { observer: printer(io) } : {}),
    ...(options.workers === undefined ? {} : { workers: options.workers }),
    ...(behind.length === 0 ? {} : { wrap: forwardingTo(behind) }),
  });
  const models = await server.engine.index();
  const names = models.map(
    (entry) => `${entry.name} ${entry.version}${entry.reason ? ` (${entry.reason})` : ""}`,
  );
  if (options.json)
    io.out(
      JSON.stringify({
        listening: server.address,
        grpc: server.grpcAddress,
        manage: server.manageAddress,
        metrics: server.metricsAddress,
        models: models.map(({ name, version, state }) => ({ name, version, state })),
      }),
    );
  else {
    io.out(`listening on ${server.address} as ${options.tier} in zone ${options.zone}`);
    for (const warning of warnings(options)) io.note(warning);
    if (server.grpcAddress !== undefined) io.out(`gRPC on ${server.grpcAddress}`);
    if (server.manageAddress !== undefined) io.out(`management on ${server.manageAddress}`);
    if (server.metricsAddress !== undefined) io.out(`metrics on ${server.metricsAddress}/metrics`);
    io.out(`models: ${names.join(", ") || "none"}`);
  }
  await new Promise<void>((resolve) => {
    if (io.stop.aborted) resolve();
    else io.stop.addEventListener("abort", () => resolve(), { once: true });
  });
  io.note("draining: new work is refused, work under way is finished");
  await server.close(options.drainSeconds * 1000, options.lingerSeconds * 1000);
  return 0;
}
