import { cp, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, startServerProcess } from "./process.ts";
import type { RunningPeer, ServerSetup } from "./served-model.ts";

/** The built command of this repository. */
export const command: string = join(
  dirname(fileURLToPath(import.meta.resolve("longshore"))),
  "..",
  "bin",
  "longshore.js",
);

/** How `longshore serve` is started on a folder of models. */
export interface OwnServerOptions {
  /** Of another build. Default: of this checkout. */
  readonly command?: string;
  readonly repository: string;
  readonly cores?: readonly number[];
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly errorsTo?: string;
}

/** Starts `longshore serve` on free ports for HTTP and gRPC, as an operator would. */
export async function startOwn(options: OwnServerOptions): Promise<RunningPeer> {
  const [http, grpc] = [await freePort(), await freePort()];
  const args = options.args ?? [];
  const started = await startServerProcess({
    command: options.command ?? command,
    args: ["serve", options.repository, "--port", `${http}`, "--grpc-port", `${grpc}`, ...args],
    ...(options.cores ? { cores: options.cores } : {}),
    ...(options.env ? { env: options.env } : {}),
    ...(options.errorsTo === undefined ? {} : { errorsTo: options.errorsTo }),
    readyUrl: `http://127.0.0.1:${http}/v2/health/ready`,
  });
  return {
    name: "longshore",
    http: `127.0.0.1:${http}`,
    grpc: `127.0.0.1:${grpc}`,
    settings: args.join(" ") || "defaults",
    pid: started.pid,
    close: () => started.close(),
  };
}

/** Starts `longshore gateway` before some servers (`host:port`), on a free port for HTTP and, if wanted, one for gRPC. */
export async function startGateway(options: {
  readonly servers: readonly string[];
  readonly args?: readonly string[];
  readonly cores?: readonly number[];
  readonly env?: Readonly<Record<string, string>>;
  readonly errorsTo?: string;
  /** Default false. */
  readonly grpc?: boolean;
}): Promise<RunningPeer> {
  const { servers, args = [], cores, env, errorsTo } = options;
  const http = await freePort();
  const grpc = options.grpc === true ? await freePort() : undefined;
  const started = await startServerProcess({
    command,
    args: [
      "gateway",
      "--port",
      `${http}`,
      ...(grpc === undefined ? ["--no-grpc-port"] : ["--grpc-port", `${grpc}`]),
      "--data-class",
      "internal",
      "--log-level",
      "none",
      ...servers.flatMap((server) => ["--at", `http://${server}`]),
      ...args,
    ],
    ...(cores ? { cores } : {}),
    ...(env ? { env } : {}),
    ...(errorsTo === undefined ? {} : { errorsTo }),
    readyUrl: `http://127.0.0.1:${http}/v2/health/ready`,
  });
  return {
    name: "longshore gateway",
    http: `127.0.0.1:${http}`,
    ...(grpc === undefined ? {} : { grpc: `127.0.0.1:${grpc}` }),
    settings: args.join(" ") || "defaults",
    pid: started.pid,
    close: () => started.close(),
  };
}

/** Writes a repository of the setup's models for our server, and starts it. */
export async function startLongshore(setup: ServerSetup): Promise<RunningPeer> {
  for (const { name, file, batch } of setup.models) {
    const version = join(setup.folder, name, "1");
    await mkdir(version, { recursive: true });
    await cp(file, join(version, "model.onnx"));
    const lines = [`name: ${name}`, ...(batch > 1 ? [`batching: { maxBatchSize: ${batch} }`] : [])];
    await writeFile(join(setup.folder, name, "model.yaml"), `${lines.join("\n")}\n`);
  }
  const { copies, threads } = setup.spread;
  const own = await startOwn({
    repository: setup.folder,
    cores: setup.cores,
    args: ["--workers", `${copies}`],
  });
  return { ...own, settings: `${copies} worker(s) x ${threads} thread(s)` };
}
