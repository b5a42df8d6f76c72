import { type LongshoreEvent, LongshoreError, type Observer, type Tier } from "@longshore/core";
import type { RuntimeName } from "../compose/open-engine.ts";
import { openModel } from "../compose/open-model.ts";
import { forwardingTo } from "../compose/open-offloader.ts";
import { serve as startServer } from "../compose/serve.ts";
import type { CommandIo, ExitCode } from "./io.ts";

/** Options of `longshore serve`. */
export interface ServeCommandOptions {
  readonly host: string;
  readonly port: number;
  readonly tier: Tier;
  readonly zone: string;
  readonly at: readonly string[];
  readonly workers?: number;
  readonly runtime: RuntimeName;
  readonly maxBody: number;
  readonly queue: number;
  readonly drain: number;
  readonly allowManagement: boolean;
  readonly json: boolean;
}

/** One line for each request that ended and each failure that nobody asked for. */
function printer(json: boolean, io: CommandIo): Observer {
  const words = (event: LongshoreEvent): string | undefined => {
    if (event.kind === "failure") return `failed (${event.reason}, ${event.stage}): ${event.message}`;
    if (event.kind === "model-state") return `${event.model} ${event.version}: ${event.state}`;
    return undefined;
  };
  return {
    record(event) {
      if (json) {
        if (event.kind !== "stage-ended" && event.kind !== "bytes-acknowledged")
          io.out(JSON.stringify(event));
        return;
      }
      const line = words(event);
      if (line !== undefined) io.note(line);
    },
  };
}

/** Puts the models of a repository on a port until SIGINT or SIGTERM, then drains. */
export async function serve(
  repository: string,
  options: ServeCommandOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const opened = await openModel(repository);
  if (options.port > 65_535 || !Number.isInteger(options.port)) {
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      `port ${options.port} is not a whole number from 0 to 65535`,
    );
  }
  const server = await startServer({
    store: opened.store,
    host: options.host,
    port: options.port,
    tier: options.tier,
    zone: options.zone,
    runtime: options.runtime,
    maxBodyBytes: options.maxBody,
    maxQueued: options.queue,
    allowManagement: options.allowManagement,
    observer: printer(options.json, io),
    ...(options.workers === undefined ? {} : { workers: options.workers }),
    ...(options.at.length === 0 ? {} : { wrap: forwardingTo(options.at) }),
  });
  const models = await server.engine.index();
  const names = models.map(
    (entry) => `${entry.name} ${entry.version}${entry.reason ? ` (${entry.reason})` : ""}`,
  );
  if (options.json)
    io.out(
      JSON.stringify({
        listening: server.address,
        models: models.map(({ name, version, state }) => ({ name, version, state })),
      }),
    );
  else {
    io.out(`listening on ${server.address} as ${options.tier} in zone ${options.zone}`);
    io.out(`models: ${names.join(", ") || "none"}`);
  }
  await new Promise<void>((resolve) => {
    if (io.stop.aborted) resolve();
    else io.stop.addEventListener("abort", () => resolve(), { once: true });
  });
  io.note("draining: new work is refused, work under way is finished");
  await server.close(options.drain);
  return 0;
}
