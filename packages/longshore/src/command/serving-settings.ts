import type { Command } from "commander";
import { systemClock } from "@longshore/nodejs";
import { parseIdentity } from "@longshore/server";
import { readTextFile } from "../connect/read-text.ts";
import { type WatchedSettings, watchSettings } from "../configuration/live.ts";
import { carbonFrom } from "../configuration/carbon-settings.ts";
import { checkPolicy } from "../configuration/policy-settings.ts";
import { quotaOptionsOf } from "../configuration/quota-settings.ts";
import { misspeltVariables, settle } from "../configuration/settle.ts";
import type { Settled } from "../settings/settled.ts";
import { serversAt } from "../options/at-options.ts";
import { type ConnectionName, shownOf } from "../options/connection-options.ts";
import type { CommandIo } from "../options/io.ts";
import { logged } from "../options/io.ts";
import { onlineServeOptions } from "../options/online-options.ts";
import { repositoryServeOptions } from "../options/repository-options.ts";
import { tritonServeOptions } from "../options/triton-options.ts";
import type { GatewayCommandOptions } from "./gateway-options.ts";
import type { ServeCommandOptions } from "./serve-options.ts";

/** Everything that a server of these settings would refuse before it listens. Throws `invalid-configuration` and `invalid-input`. */
export async function checkSettings(command: Command, settled: Settled, io: CommandIo): Promise<void> {
  const { options } = settled;
  // The parsers and the schema of the options have checked what these say.
  const online = options as unknown as GatewayCommandOptions;
  await onlineServeOptions(online, io);
  await serversAt(online);
  checkPolicy(settled);
  carbonFrom(settled);
  await quotaOptionsOf({ now: () => settled, follow: () => undefined }, online);
  const connections: readonly ConnectionName[] = ["directory", "directory-servers", "join", "packages"];
  for (const connection of connections) await shownOf(connection, online);
  if (online.identity !== undefined) parseIdentity(await readTextFile(online.identity, "identity"));
  if (online.tlsCert !== undefined) await readTextFile(online.tlsCert, "the certificate");
  if (command.name() !== "serve") return;
  const serving = options as unknown as ServeCommandOptions;
  tritonServeOptions(serving);
  repositoryServeOptions(serving, io.environment);
}

/** The settings of a serving command from flags, environment and file, followed while it runs. */
export async function servingSettings(command: Command, io: CommandIo): Promise<WatchedSettings> {
  const settled = await settle(command, io.environment);
  checkPolicy(settled);
  carbonFrom(settled);
  for (const warning of misspeltVariables(command, io.environment)) logged(io)(warning);
  return watchSettings(command, settled, {
    clock: systemClock(),
    environment: io.environment,
    report: logged(io),
    check: (next) => checkSettings(command, next, io),
    ...(io.onReload ? { onReload: (listener) => io.onReload?.(listener) ?? { [Symbol.dispose]() {} } } : {}),
  });
}
