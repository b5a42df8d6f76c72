import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { mlserver } from "../install/index.ts";
import { freePort, startServerProcess } from "./process.ts";
import type { RunningPeer, ServerSetup } from "./served-model.ts";
import { scripts } from "./triton.ts";

/** Starts MLServer. With one copy the model runs in the server's own process, which is its fastest on one core. */
export async function startMlserver(setup: ServerSetup): Promise<RunningPeer> {
  const tools = await mlserver();
  const { copies, threads } = setup.spread;
  const [http, grpc, metrics] = [await freePort(), await freePort(), await freePort()];
  await writeFile(
    join(setup.folder, "settings.json"),
    JSON.stringify({
      host: "127.0.0.1",
      http_port: http,
      grpc_port: grpc,
      metrics_port: metrics,
      parallel_workers: copies > 1 ? copies : 0,
      debug: false,
      grpc_max_message_length: 1 << 30,
    }),
  );
  for (const { name, version = "1", file, batch } of setup.models) {
    const folder = join(setup.folder, version === "1" ? name : `${name}-${version}`);
    await mkdir(folder, { recursive: true });
    await writeFile(
      join(folder, "model-settings.json"),
      JSON.stringify({
        name,
        implementation: "mlserver_runtime.OnnxModel",
        ...(batch > 1 ? { max_batch_size: batch, max_batch_time: 0.001 } : {}),
        parameters: { version, extra: { file, threads, spinning: threads > 1 ? "1" : "0" } },
      }),
    );
  }
  const started = await startServerProcess({
    command: tools.program("mlserver"),
    args: ["start", setup.folder],
    env: { PYTHONPATH: scripts },
    cwd: setup.folder,
    cores: setup.cores,
    // The server itself is ready, too, when no model could be loaded.
    readyUrl: `http://127.0.0.1:${http}/v2/models/${setup.models.at(-1)?.name}/ready`,
    // Each of its workers imports everything again, which takes most of a minute beside other work.
  });
  return {
    name: "mlserver",
    http: `127.0.0.1:${http}`,
    grpc: `127.0.0.1:${grpc}`,
    metrics: `127.0.0.1:${metrics}`,
    settings: `${copies > 1 ? `${copies} workers` : "in its own process"} x ${threads} thread(s)`,
    pid: started.pid,
    close: () => started.close(),
  };
}
