import { LongshoreError } from "@longshore/core";
import type { Command } from "commander";
import { keepYoung, yieldToFirst } from "@longshore/nodejs";
import { checksOf, confirmOf } from "../options/check-options.ts";
import { goldenFrom } from "../engine/golden-source.ts";
import { portsAt } from "../connect/described-at.ts";
import { openModel } from "../engine/open-model.ts";
import { forwardingTo } from "../compose/forwarding.ts";
import { type RunningServer, serve as startServer } from "../compose/serve.ts";
import { beliefsOf, retryOf, serversAt } from "../options/at-options.ts";
import { ownPricesOf } from "../options/price-options.ts";
import { directoryOf } from "../options/directory-options.ts";
import type { CommandIo, ExitCode } from "../options/io.ts";
import {
  type ListeningCallback,
  onlineServeOptions,
  serveUntilStopped,
  startedOrStopped,
} from "../options/online-options.ts";
import { pullOptionsOf } from "./package.ts";
import { repositoryServeOptions } from "../options/repository-options.ts";
import { tritonServeOptions } from "../options/triton-options.ts";
import { carbonOf } from "../configuration/carbon-settings.ts";
import { acceptsOf, classesOf, policyPart, zonesOf } from "../configuration/policy-settings.ts";
import { quotaOptionsOf } from "../configuration/quota-settings.ts";
import { servingSettings } from "./serving-settings.ts";
import type { ServeCommandOptions } from "./serve-options.ts";

/** Told if nothing is served, since a folder without models is seldom meant. */
const noModels =
  "none; a model is a folder NAME with 1/model.onnx in it, and model.yaml or config.pbtxt where needed";

/** Puts the models of a repository on a port until SIGINT or SIGTERM, then drains. */
export async function serveCommand(command: Command, io: CommandIo): Promise<ExitCode> {
  using live = await servingSettings(command, io);
  // The parsers and the schema of the options have checked what these say.
  const options = live.now().options as unknown as ServeCommandOptions;
  const { repository } = options;
  if (repository === undefined) {
    const why = "no models: name a repository (longshore serve ./models), or models.repository in --config";
    throw new LongshoreError("invalid-input", "resolve", why);
  }
  keepYoung();
  yieldToFirst({ niceness: options.workerNiceness });
  const opened = await openModel(repository, { linkRoots: options.linkRoot });
  const behind = await serversAt(options);
  const found = await directoryOf(options);
  const plain = behind.length === 0 && !found;
  const checks = { golden: goldenFrom(opened.store), ...(await checksOf(options)) };
  if (options.confirm && plain) {
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      "--confirm needs other servers that answer, too: give --at URL, repeated, or --directory",
    );
  }
  const pull = await pullOptionsOf(options, { from: options.join, option: "--join", connection: "join" });
  // The named model is this server's purpose, unless others run it or it waits for a load.
  const named = plain && options.modelControl === "none" ? opened.model : undefined;
  // A folder of one model lies among others. Explicit control serves it with the models that its pipeline uses.
  const only = named !== undefined && opened.folder !== undefined;
  const carbon = carbonOf(live);
  const beliefs = plain ? undefined : await beliefsOf(options, io);
  const start = async (listening: ListeningCallback): Promise<RunningServer> =>
    startServer({
      listening,
      ...(pull ? { pull } : {}),
      ...(found ? { directory: found.directory, events: found.events } : {}),
      store: opened.store,
      prices: ownPricesOf(options),
      runtime: options.runtime,
      ...(options.providers ? { providers: options.providers } : {}),
      ...(options.allowClasses ? { dataClasses: options.allowClasses } : {}),
      classes: classesOf(live, options.allowClasses),
      maxQueued: options.queue,
      workerNiceness: options.workerNiceness,
      allowManagement: options.allowManagement || options.managePort !== undefined,
      ...(await onlineServeOptions(options, io, live)),
      ...(await quotaOptionsOf(live, options)),
      ...acceptsOf(live, options.zone),
      ...carbon,
      ...tritonServeOptions(options),
      ...repositoryServeOptions(options, io.environment),
      ...(named === undefined ? {} : { loadModels: [named, ...options.loadModel] }),
      ...(only ? { modelControl: "explicit" } : {}),
      ...(options.workers === undefined ? {} : { workers: options.workers }),
      elsewhere: portsAt({ servers: behind, ...found }),
      unstatedRules: { dataClass: options.dataClass, leastTrust: "none", ...zonesOf(live.now()) },
      ...(plain
        ? {}
        : {
            wrap: forwardingTo(
              { servers: behind, ...found },
              {
                checks,
                ...confirmOf(options),
                ...retryOf(options),
                ...policyPart(live),
                ...carbon,
                ...(beliefs ? { beliefs: beliefs.memory } : {}),
              },
            ),
          }),
    });
  const server = await startedOrStopped(start, options, io);
  if (!server) return 0;
  const models = await server.engine.index();
  const names = models
    .filter(({ state }) => state !== "unloaded")
    .map((entry) => `${entry.name} ${entry.version}${entry.reason ? ` (${entry.reason})` : ""}`);
  const json = models.map(({ name, version, state }) => ({ name, version, state }));
  await serveUntilStopped(
    server,
    options,
    { key: "models", json, text: names.join(", ") || (models.length === 0 ? noModels : "none") },
    io,
  );
  await beliefs?.close();
  await found?.directory[Symbol.asyncDispose]();
  return 0;
}
