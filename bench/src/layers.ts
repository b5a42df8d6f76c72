import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { endCut, numericView, startCut, type Tensor, type Tensors } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { Runtime } from "@longshore/engine";
import { folderStore, onnxRuntime, sha256 } from "@longshore/nodejs";
import { openOffloader } from "longshore";
import ort from "onnxruntime-node";
import { benchEngine } from "./bench-engine.ts";

/** A model of the sample repository with one input for it, and the state that goes from request to request, if any. */
export interface Subject {
  readonly model: string;
  readonly inputs: Tensors;
  readonly state?: { readonly input: string; readonly tensor: Tensor };
}

/** One way to run a subject once. */
export interface Layer {
  readonly name: string;
  once(): Promise<unknown>;
  close(): Promise<void>;
}

const repository = fileURLToPath(new URL("../../samples/repository", import.meta.url));
const call = housekeepingCall("overhead");

const modelBytes = (model: string): Uint8Array =>
  new Uint8Array(readFileSync(`${repository}/${model}/1/model.onnx`));

/** Everything that the graph is fed, state included. */
function feedsOf({ inputs, state }: Subject): Tensors {
  return state
    ? new Map([
        ...inputs,
        [state.input, { ...state.tensor, spec: { ...state.tensor.spec, name: state.input } }],
      ])
    : inputs;
}

const ortTypes: Readonly<Record<string, ort.Tensor.Type>> = { FP32: "float32", INT64: "int64" };

/** The floor: `session.run` of onnxruntime-node on this thread, on tensors that are made once. */
export async function bareLayer(subject: Subject): Promise<Layer> {
  const session = await ort.InferenceSession.create(modelBytes(subject.model), {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: "0" }, inter_op: { allow_spinning: "0" } } },
  });
  const feeds: Record<string, ort.Tensor> = {};
  for (const [name, tensor] of feedsOf(subject)) {
    const type = ortTypes[tensor.spec.datatype];
    if (type === undefined) throw new Error(`the bench feeds no ${tensor.spec.datatype}`);
    // The constructor's overloads are one per element type, which is known only here.
    const make = ort.Tensor as unknown as new (
      type: string,
      data: unknown,
      dims: readonly number[],
    ) => ort.Tensor;
    feeds[name] = new make(type, numericView(tensor), tensor.spec.shape);
  }
  return { name: "bare", once: () => session.run(feeds), close: () => session.release() };
}

/** The runtime seam, always in a worker thread: inputs checked and copied there, outputs brought back. */
export function workerLayer(subject: Subject): Promise<Layer> {
  return sessionLayer("worker", subject, onnxRuntime());
}

/** The runtime seam as the offloader uses it: short runs on this thread, others in a worker. */
export function runtimeLayer(subject: Subject): Promise<Layer> {
  return sessionLayer("runtime", subject, onnxRuntime({ shortRunsHere: true }));
}

async function sessionLayer(name: string, subject: Subject, runtime: Runtime): Promise<Layer> {
  const bytes = modelBytes(subject.model);
  const artifact = {
    digest: await sha256(bytes),
    byteLength: bytes.byteLength,
    // Each session may move what it is given to its worker.
    bytes: () => Promise.resolve(new Uint8Array(bytes)),
  };
  const session = await runtime.load(artifact, {}, call);
  const feeds = feedsOf(subject);
  return { name, once: () => session.run(feeds, [], call), close: () => runtime.close() };
}

/** The engine as an endpoint: model lookup, admission, queue and batching before the runtime, sequence state kept. */
export function engineLayer(subject: Subject): Promise<Layer> {
  const runtime = onnxRuntime({ shortRunsHere: true });
  const engine = benchEngine(folderStore(repository), runtime);
  const segment = {
    model: subject.model,
    version: "",
    digest: "",
    variant: "",
    from: startCut,
    to: endCut,
  };
  let step = 0;
  return Promise.resolve({
    name: "engine",
    once() {
      const sequence = { id: "bench", step: step++, end: false, wantState: false };
      return engine.infer(
        { segment, inputs: subject.inputs, codecs: {}, ...(subject.state ? { sequence } : {}) },
        call,
      );
    },
    async close() {
      await engine.close();
      await runtime.close();
    },
  });
}

/** The work of an app's offloader: resolve, plan with all rules and objectives, run here, account. No server is named. */
export async function offloaderLayer(subject: Subject): Promise<Layer> {
  const offloader = await openOffloader({ repository });
  const inputs = Object.fromEntries(subject.inputs);
  const sequence = subject.state ? offloader.sequence(subject.model) : undefined;
  return {
    name: "offloader",
    once: () => (sequence ? sequence.next(inputs) : offloader.infer(subject.model, inputs)),
    async close() {
      await sequence?.[Symbol.asyncDispose]();
      await offloader.close();
    },
  };
}

/** An empty message to a worker thread and back: the least cost of a thread of its own. */
export function roundTripLayer(): Layer {
  const worker = new Worker(
    'const { parentPort } = require("node:worker_threads"); parentPort.on("message", (one) => parentPort.postMessage(one));',
    { eval: true },
  );
  return {
    name: "round trip",
    once: () =>
      new Promise((resolve) => {
        worker.once("message", resolve);
        worker.postMessage(0);
      }),
    close: async () => void (await worker.terminate()),
  };
}
