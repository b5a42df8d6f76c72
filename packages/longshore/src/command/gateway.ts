import { LongshoreError } from "@longshore/core";
import type { ServerOptions } from "../compose/dial.ts";
import { gateway as startGateway } from "../compose/forwarding.ts";
import { serversOf } from "./at-options.ts";
import type { CommandIo, ExitCode } from "./io.ts";
import { type OnlineCommandOptions, onlineServeOptions, serveUntilStopped } from "./online-options.ts";

/** Options of `longshore gateway`. */
export interface GatewayCommandOptions extends OnlineCommandOptions {
  readonly atKind: NonNullable<ServerOptions["kind"]>;
  readonly atTrust: NonNullable<ServerOptions["trust"]>;
  readonly atZone: string;
  readonly dataClass: string;
}

/** Puts a choice among servers on a port until SIGINT or SIGTERM, then drains. */
export async function gateway(options: GatewayCommandOptions, io: CommandIo): Promise<ExitCode> {
  const { atKind: kind, atTrust: trust, atZone: zone, atTenants: forwardsTenants, dataClass } = options;
  const servers = (await serversOf(options)).map((one) => ({ ...one, kind, trust, zone, forwardsTenants }));
  if (servers.length === 0) {
    throw new LongshoreError("invalid-input", "resolve", "a gateway needs servers: give --at URL, repeated");
  }
  const server = await startGateway({ servers, dataClass, ...onlineServeOptions(options, io) });
  const addresses = servers.map(({ address }) => address);
  await serveUntilStopped(
    server,
    options,
    { key: "servers", json: addresses, text: addresses.join(", ") },
    io,
  );
  return 0;
}
