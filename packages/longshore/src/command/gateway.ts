import { LongshoreError } from "@longshore/core";
import type { Command } from "commander";
import { keepYoung } from "@longshore/nodejs";
import { checksOf, confirmOf } from "../options/check-options.ts";
import { gateway as startGateway } from "../compose/forwarding.ts";
import type { Online } from "../compose/put-online.ts";
import type { RegistryOptions } from "../connect/directory.ts";
import { readTextFile } from "../connect/read-text.ts";
import { beliefsOf, retryOf, serversAt } from "../options/at-options.ts";
import { ownPricesOf } from "../options/price-options.ts";
import { type CommandDirectory, diallingOf, directoryOf } from "../options/directory-options.ts";
import type { CommandIo, ExitCode } from "../options/io.ts";
import {
  type ListeningCallback,
  onlineServeOptions,
  serveUntilStopped,
  startedOrStopped,
} from "../options/online-options.ts";
import { carbonOf } from "../configuration/carbon-settings.ts";
import { acceptsOf, policyPart, zonesOf } from "../configuration/policy-settings.ts";
import { quotaOptionsOf } from "../configuration/quota-settings.ts";
import { servingSettings } from "./serving-settings.ts";
import type { GatewayCommandOptions } from "./gateway-options.ts";

/** The limits of servers that join without an entry of the operator's: in this gateway's zone, and with the stated trust. */
async function joinsOf(
  { zone, joinsTrust: trust, joinsKeep, operatorKeys, directoryHours }: GatewayCommandOptions,
  found: CommandDirectory | undefined,
): Promise<RegistryOptions> {
  const keys =
    operatorKeys === undefined ? undefined : await readTextFile(operatorKeys, "the operator's keys");
  return {
    // With keys of the operator, only signed endpoints are used.
    ...(keys === undefined ? { admits: { zone, trust } } : { operatorKeys: keys }),
    ...(found ? { entries: found.directory } : {}),
    ...(joinsKeep === undefined ? {} : { keptIn: joinsKeep }),
    ...(directoryHours === undefined ? {} : { maxAgeMs: directoryHours * 3_600_000 }),
  };
}

/** Puts a choice among servers on a port until SIGINT or SIGTERM, then drains. */
export async function gatewayCommand(command: Command, io: CommandIo): Promise<ExitCode> {
  using live = await servingSettings(command, io);
  // The parsers and the schema of the options have checked what these say.
  const options = live.now().options as unknown as GatewayCommandOptions;
  keepYoung();
  const servers = await serversAt(options);
  const found = await directoryOf(options, options.joins);
  const dialling = found?.dialling ?? (await diallingOf(options));
  if (servers.length === 0 && !found && !options.joins) {
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      "a gateway with --no-joins needs servers: give --at URL, repeated, or --directory",
    );
  }
  const beliefs = await beliefsOf(options, io);
  const start = async (listening: ListeningCallback): Promise<Online> =>
    startGateway({
      listening,
      servers,
      prices: ownPricesOf(options),
      dataClass: options.dataClass,
      maxKeptBytes: options.maxKept,
      holdMs: options.holdSeconds * 1000,
      checks: await checksOf(options),
      ...confirmOf(options),
      ...retryOf(options),
      ...(beliefs ? { beliefs: beliefs.memory } : {}),
      ...found,
      dialling,
      ...(options.joins ? { joins: await joinsOf(options, found) } : {}),
      ...(await onlineServeOptions(options, io, live)),
      ...(await quotaOptionsOf(live, options)),
      ...acceptsOf(live, options.zone),
      ...policyPart(live),
      ...carbonOf(live),
      ...zonesOf(live.now()),
      allowManagement: options.allowManagement || options.managePort !== undefined,
    });
  const server = await startedOrStopped(start, options, io);
  if (!server) return 0;
  const addresses = servers.map(({ address }) => address);
  await serveUntilStopped(
    server,
    options,
    {
      key: "servers",
      json: addresses,
      text: [
        ...addresses,
        ...(found ? ["those of the directory"] : []),
        ...(options.joins ? ["those that join"] : []),
      ].join(", "),
    },
    io,
  );
  await beliefs?.close();
  await found?.directory[Symbol.asyncDispose]();
  return 0;
}
