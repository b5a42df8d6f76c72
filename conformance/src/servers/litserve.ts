import { join } from "node:path";
import { litserve } from "../install/index.ts";
import { freePort, startServerProcess } from "./process.ts";
import type { RunningPeer, ServerSetup } from "./served-model.ts";
import { scripts } from "./triton.ts";

/** Starts LitServe for the first model of the setup: it serves one. */
export async function startLitserve(setup: ServerSetup): Promise<RunningPeer> {
  const tools = await litserve();
  const [model] = setup.models;
  if (!model) throw new Error("LitServe needs a model");
  const { copies, threads } = setup.spread;
  const http = await freePort();
  const told = {
    file: model.file,
    threads,
    spinning: threads > 1 ? "1" : "0",
    dtype: "float32",
    shape: model.input.shape,
    batch: model.batch,
    delay: model.batch > 1 ? 0.001 : 0,
  };
  const started = await startServerProcess({
    command: tools.python,
    args: [
      join(scripts, "litserve_server.py"),
      `--port=${http}`,
      `--workers=${copies}`,
      `--model=${JSON.stringify(told)}`,
    ],
    cwd: setup.folder,
    cores: setup.cores,
    readyUrl: `http://127.0.0.1:${http}/health`,
  });
  return {
    name: "litserve",
    http: `127.0.0.1:${http}`,
    settings: `${copies} worker(s) x ${threads} thread(s)`,
    pid: started.pid,
    close: () => started.close(),
  };
}
