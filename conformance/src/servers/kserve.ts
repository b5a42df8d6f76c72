import { join } from "node:path";
import { kserve } from "../install/index.ts";
import { freePort, startServerProcess } from "./process.ts";
import type { RunningPeer, ServerSetup } from "./served-model.ts";
import { scripts } from "./triton.ts";

/** Starts KServe's Python server. */
export async function startKserve(setup: ServerSetup): Promise<RunningPeer> {
  const tools = await kserve();
  const { copies, threads } = setup.spread;
  const [http, grpc] = [await freePort(), await freePort()];
  const started = await startServerProcess({
    command: tools.python,
    args: [
      join(scripts, "kserve_server.py"),
      `--http_port=${http}`,
      `--grpc_port=${grpc}`,
      `--workers=${copies}`,
      "--enable_latency_logging=false",
      `--model-list=${JSON.stringify(setup.models.map(({ name, file }) => ({ name, file, threads, spinning: threads > 1 ? "1" : "0" })))}`,
    ],
    cwd: setup.folder,
    cores: setup.cores,
    readyUrl: `http://127.0.0.1:${http}/v2/health/ready`,
    // It imports much again, which takes minutes beside other work.
  });
  return {
    name: "kserve",
    http: `127.0.0.1:${http}`,
    grpc: `127.0.0.1:${grpc}`,
    metrics: `127.0.0.1:${http}`,
    settings: `${copies} worker(s) x ${threads} thread(s)`,
    pid: started.pid,
    close: () => started.close(),
  };
}
