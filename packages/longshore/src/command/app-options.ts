import { servingCommand } from "./serving-command.ts";
import type { OpenOptions } from "../compose/open-options.ts";
import { type ServersAtOptions, retryOf, serversAt } from "../options/at-options.ts";
import { type DirectoryCommandOptions, diallingOf, sourceOptionsOf } from "../options/directory-options.ts";
import { type PullCommandOptions, pullOptionsOf } from "./package.ts";
import { carbonFrom } from "../configuration/carbon-settings.ts";
import { checkPolicy, policyPart, zonesOf } from "../configuration/policy-settings.ts";
import { settle } from "../configuration/settle.ts";
import type { Environment } from "../settings/settled.ts";

const silent = {
  out: () => undefined,
  note: () => undefined,
  progress: () => undefined,
  environment: {},
  stop: new AbortController().signal,
};

/**
 * The options of an app from `longshore.yaml` and the environment: its models, endpoints, directory, packages and policy. Settings of
 * listeners, identity and telemetry apply to servers only. Throws `invalid-configuration` and `invalid-input`.
 */
export async function appOptions(file: string, environment: Environment): Promise<Partial<OpenOptions>> {
  const command = servingCommand("serve", silent);
  command.parseOptions(["--config", file]);
  const all = await settle(command, environment);
  const { options: settled, settings } = all;
  const options = settled as unknown as ServersAtOptions & DirectoryCommandOptions & PullCommandOptions;
  // Defaults of a server are not those of an app.
  const said = new Map(
    settings
      .filter(({ origin }) => origin === "file" || origin === "environment")
      .map(({ path, value }) => [path, value]),
  );
  const repository = said.get("models.repository") as string | undefined;
  const runtime = said.get("models.runtime") as OpenOptions["runtime"] | undefined;
  const providers = said.has("models.providers")
    ? (settled["providers"] as OpenOptions["providers"])
    : undefined;
  const dataClass = said.get("policy.dataClass") as string | undefined;
  checkPolicy(all);
  carbonFrom(all);
  const carbon = all.file?.at("carbon", "zones") as OpenOptions["carbon"];
  const { zones } = zonesOf(all);
  const servers = await serversAt(options);
  const packages = await pullOptionsOf(options, {
    from: servers[0]?.address,
    option: "endpoints",
    connection: "at",
  });
  return {
    ...(repository === undefined ? {} : { repository }),
    ...(runtime === undefined ? {} : { runtime }),
    ...(providers === undefined ? {} : { providers }),
    defaults: { ...(dataClass === undefined ? {} : { dataClass }), ...(zones ? { zones } : {}) },
    ...policyPart({ now: () => all, follow: () => undefined }),
    ...(carbon ? { carbon } : {}),
    ...(servers.length === 0 ? {} : { servers }),
    ...(options.directory === undefined
      ? {}
      : {
          directory: await sourceOptionsOf(options.directory, options),
          dialling: await diallingOf(options),
        }),
    ...(packages ? { packages } : {}),
    ...(said.has("forwarding.retries") ? retryOf(options) : {}),
    ...(options.beliefs === undefined ? {} : { beliefs: options.beliefs }),
  };
}
