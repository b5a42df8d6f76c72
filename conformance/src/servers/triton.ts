import { cp, mkdir, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type PythonTools, tritonServer } from "../install/index.ts";
import { freePort, startServerProcess } from "./process.ts";
import type { RunningPeer, ServedModel, ServerSetup, Spread } from "./served-model.ts";

/** Where scripts for other people's servers lie. */
export const scripts: string = fileURLToPath(new URL("../../python/servers", import.meta.url));

const dims = (batched: boolean, shape: readonly number[]): string =>
  (batched ? shape.slice(1) : shape).join(", ");

/** Requests that have waited for so long, or for as long as they say themselves, are refused. */
const queuePolicy = (timeoutMs: number): string =>
  `dynamic_batching { default_queue_policy { timeout_action: REJECT default_timeout_microseconds: ${Math.round(timeoutMs * 1000)} allow_timeout_override: true } }`;

const versionOf = ({ version = "1" }: ServedModel): string => version;

function configuration(
  model: ServedModel,
  backend: "python" | "onnxruntime",
  { copies, threads }: Spread,
  queueTimeoutMs: number | undefined,
  versions: readonly ServedModel[],
): string {
  const { input, output, batch } = model;
  const batched = batch > 1 || queueTimeoutMs !== undefined;
  const text = (key: string, value: string): string =>
    `parameters { key: "${key}" value: { string_value: "${value}" } }`;
  return [
    `name: "${model.name}"`,
    `backend: "${backend}"`,
    `max_batch_size: ${batched ? batch : 0}`,
    `input [ { name: "${input.name}" data_type: TYPE_${input.datatype} dims: [ ${dims(batched, input.shape)} ] } ]`,
    `output [ { name: "${output.name}" data_type: TYPE_${output.datatype} dims: [ ${dims(batched, output.shape)} ] } ]`,
    `version_policy: { all { } }`,
    `instance_group [ { count: ${copies} kind: KIND_CPU } ]`,
    ...(batch > 1 && queueTimeoutMs === undefined ? ["dynamic_batching { }"] : []),
    ...(queueTimeoutMs === undefined ? [] : [queuePolicy(queueTimeoutMs)]),
    ...(backend === "python"
      ? [
          ...versions.map((one) => text(`file-${versionOf(one)}`, one.file)),
          text("threads", `${threads}`),
          text("spinning", threads > 1 ? "1" : "0"),
        ]
      : [text("intra_op_thread_count", `${threads}`)]),
    "",
  ].join("\n");
}

/** The wheel keeps the stub that runs Python apart from the backend, one for each version of Python. */
async function pythonBackend(tools: PythonTools): Promise<string> {
  const backends = join(tools.folder, "backends");
  const bundle = join(tools.packages, "pytriton", "tritonserver");
  const version = /python(3\.\d+)/.exec(tools.packages)?.[1] ?? "";
  if (!existsSync(join(backends, "python", "triton_python_backend_stub"))) {
    await mkdir(backends, { recursive: true });
    await cp(join(bundle, "backends"), backends, { recursive: true });
    const stub = "triton_python_backend_stub";
    await cp(join(bundle, "python_backend_stubs", version, stub), join(backends, "python", stub));
  }
  return backends;
}

/** Which of Triton's backends runs the models: its own wheel's Python backend, or an ONNX Runtime backend from a folder. */
export interface TritonOptions {
  /** Folder that holds `onnxruntime/libtriton_onnxruntime.so`. */
  readonly onnxBackends?: string;
  /** How long a request may wait in the queue. Default: for ever. */
  readonly queueTimeoutMs?: number;
  /** Have it tell its metrics, on a port of their own. Default false. */
  readonly metrics?: boolean;
}

/** Starts Triton 2.51. */
export async function startTriton(setup: ServerSetup, options: TritonOptions = {}): Promise<RunningPeer> {
  const tools = await tritonServer();
  const backend = options.onnxBackends === undefined ? "python" : "onnxruntime";
  const backends = options.onnxBackends ?? (await pythonBackend(tools));
  for (const model of setup.models) {
    const version = join(setup.folder, model.name, versionOf(model));
    const versions = setup.models.filter(({ name }) => name === model.name);
    await mkdir(version, { recursive: true });
    await writeFile(
      join(setup.folder, model.name, "config.pbtxt"),
      configuration(model, backend, setup.spread, options.queueTimeoutMs, versions),
    );
    if (backend === "python") await cp(join(scripts, "triton_model.py"), join(version, "model.py"));
    else await cp(model.file, join(version, "model.onnx"));
  }
  const started = await startTritonOn(setup.folder, backends, setup.cores, options);
  const { copies, threads } = setup.spread;
  return {
    ...started,
    name: backend === "python" ? "triton-python" : "triton-ort",
    settings: `${copies} instance(s) x ${threads} thread(s), batches up to ${setup.models.map(({ batch }) => batch).join("/")}`,
  };
}

/** Starts it on a repository of models in Python that lies there already. */
export async function startTritonPython(
  repository: string,
  options: Pick<TritonOptions, "metrics"> = {},
): Promise<RunningPeer> {
  return startTritonOn(repository, await pythonBackend(await tritonServer()), undefined, options);
}

async function startTritonOn(
  repository: string,
  backends: string,
  cores: readonly number[] | undefined,
  options: Pick<TritonOptions, "metrics">,
): Promise<RunningPeer> {
  const tools = await tritonServer();
  const [http, grpc, metrics] = [await freePort(), await freePort(), await freePort()];
  const started = await startServerProcess({
    command: join(tools.packages, "pytriton", "tritonserver", "bin", "tritonserver"),
    args: [
      `--model-repository=${repository}`,
      `--backend-directory=${backends}`,
      `--http-port=${http}`,
      `--grpc-port=${grpc}`,
      "--http-address=127.0.0.1",
      "--grpc-address=127.0.0.1",
      ...(options.metrics === true
        ? [`--metrics-port=${metrics}`, "--metrics-address=127.0.0.1"]
        : ["--allow-metrics=false"]),
      "--disable-auto-complete-config",
    ],
    // The stub embeds Python: it has to find the environment's packages, and the libraries that the wheel brings along.
    env: {
      PYTHONPATH: tools.packages,
      PATH: `${join(tools.folder, "bin")}:${process.env["PATH"] ?? ""}`,
      LD_LIBRARY_PATH: join(tools.packages, "nvidia_pytriton.libs"),
    },
    ...(cores ? { cores } : {}),
    readyUrl: `http://127.0.0.1:${http}/v2/health/ready`,
  });
  return {
    name: "triton",
    http: `127.0.0.1:${http}`,
    grpc: `127.0.0.1:${grpc}`,
    ...(options.metrics === true ? { metrics: `127.0.0.1:${metrics}` } : {}),
    settings: "",
    pid: started.pid,
    close: () => started.close(),
  };
}
