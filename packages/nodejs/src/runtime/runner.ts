import type { TensorSpec } from "@longshore/core";
import type { PassedOver } from "@longshore/engine";
import type { InferenceSession, Tensor } from "onnxruntime-common";
import { datatypeOfOrt, ortTypeOf, ortView } from "./ort-types.ts";
import { type OutputPage, outputPage } from "./output-page.ts";
import type {
  AgainMessage,
  Backend,
  FeedMessage,
  FromRunner,
  LoadMessage,
  OutputMessage,
  RunMessage,
  ToRunner,
} from "./runner-message.ts";
import { bytesOfStrings, stringsOf } from "./texts.ts";
import { runtimeDetail, runtimeReason } from "./runtime-detail.ts";
import { pageBytes, sharedPage, type SharedPage } from "./shared-page.ts";

/*
 * The inside of a worker: one session of ONNX Runtime that is driven by messages. Both builds, native and WebAssembly, share
 * the interface of onnxruntime-common, so this file serves both.
 */

/** The common exports of both builds. */
export interface Ort {
  readonly InferenceSession: {
    create(bytes: Uint8Array, options: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  readonly Tensor: typeof Tensor;
  readonly env?: {
    readonly versions: { readonly common?: string; readonly node?: string; readonly web?: string };
  };
}

/** Loads a build of ONNX Runtime. */
export type ImportOrt = (backend: Backend, threads: number) => Promise<Ort>;

/** Sends an answer and transfers the listed buffers. */
export type Reply = (message: FromRunner, transfer: readonly ArrayBuffer[]) => void;

function sessionOptions(message: LoadMessage, provider: string): InferenceSession.SessionOptions {
  return {
    executionProviders: [provider],
    intraOpNumThreads: message.threads,
    interOpNumThreads: 1,
    ...(message.fusions ? {} : { graphOptimizationLevel: "disabled" }),
    // All relevant errors come as exceptions; the log would go to the host program's stderr.
    logSeverityLevel: 4,
    // With a cap on memory the arena must not take the rest: after a failed request it tries ever smaller regions.
    ...(message.capped ? { enableCpuMemArena: false } : {}),
    extra: {
      session: {
        // Waiting threads must not burn cores that other sessions need.
        intra_op: { allow_spinning: "0" },
        inter_op: { allow_spinning: "0" },
        // A model in bytes may name files relative to the working directory, and the runtime would read them into its weights. No folder of
        // this name exists, so no file can be named.
        model_external_initializers_file_folder_path: "/longshore/no/such/folder",
      },
    },
  };
}

class Refused extends Error {
  readonly answer: FromRunner;
  constructor(answer: FromRunner) {
    super("refused");
    this.answer = answer;
  }
}

function refuse(
  reason: "unsupported" | "invalid-model" | "invalid-input" | "memory-limit",
  detail: string,
): Refused {
  return new Refused({ kind: "failed", reason, detail });
}

/** Provider lists do not fall back: a missing provider fails the load, so each is tried by itself, in order. */
async function createSession(
  ort: Ort,
  message: LoadMessage,
): Promise<{ session: InferenceSession; provider: string; passedOver: readonly PassedOver[] }> {
  const passedOver: PassedOver[] = [];
  let last: unknown;
  for (const provider of message.providers) {
    try {
      const session = await ort.InferenceSession.create(message.bytes, sessionOptions(message, provider));
      return { session, provider, passedOver };
    } catch (thrown) {
      last = thrown;
      passedOver.push({ provider, detail: runtimeDetail(thrown) });
    }
  }
  const plain = message.backend === "wasm" ? "wasm" : "cpu";
  if (!message.providers.includes(plain)) {
    // A load with the provider that is always present shows whether the model or the providers failed.
    const loads = await ort.InferenceSession.create(message.bytes, sessionOptions(message, plain)).then(
      (session) => session.release().then(() => true),
      (thrown: unknown) => {
        last = thrown;
        return false;
      },
    );
    if (loads) {
      const tried = passedOver.map(({ provider, detail }) => `${provider}: ${detail}`).join("; ");
      throw refuse("unsupported", `no execution provider took it (${tried})`);
    }
  }
  throw new Refused({
    kind: "failed",
    reason: runtimeReason(last, "invalid-model"),
    detail: runtimeDetail(last),
  });
}

/** The WebAssembly build reports an unnamed variable size as -1 without its sign. The native one reports "". */
const unnamedSize = 2 ** 32 - 1;

/** Specs of the tensors among some values. Others (sequences, maps) are left out and passed to `other`. */
function specsOf(
  metadata: readonly InferenceSession.ValueMetadata[],
  other: (name: string) => void,
): readonly TensorSpec[] {
  const specs: TensorSpec[] = [];
  for (const value of metadata) {
    if (!value.isTensor) {
      other(value.name);
      continue;
    }
    const datatype = datatypeOfOrt(value.type);
    if (datatype === undefined) {
      throw refuse(
        "unsupported",
        `'${value.name}' has elements of type ${value.type}, which cannot be carried`,
      );
    }
    const shape = value.shape.map((size) => (typeof size === "number" && size !== unnamedSize ? size : -1));
    specs.push({ name: value.name, datatype, shape });
  }
  return specs;
}

/** A session, and its memory shared with the other side. */
interface Loaded {
  readonly ort: Ort;
  readonly session: InferenceSession;
  readonly maxOutputBytes: number;
  readonly page: SharedPage | undefined;
  /** Copy of the page's inputs: the runtime refuses tensors on shared memory. */
  readonly mirror: ArrayBuffer;
  readonly outputPage: OutputPage | undefined;
}

function feedTensor(ort: Ort, feed: FeedMessage, common: ArrayBuffer): Tensor {
  const type = ortTypeOf(feed.datatype);
  const { datatype } = feed;
  // The constructor has one overload per element type, and the type is known only at run time.
  const make = ort.Tensor as unknown as new (
    type: string | undefined,
    data: unknown,
    dims: readonly number[],
  ) => Tensor;
  if (datatype === "BYTES") {
    const bytes = new Uint8Array(feed.buffer ?? common, feed.offset, feed.byteLength);
    const texts = stringsOf(bytes, (index, why) =>
      refuse("invalid-input", `element ${index} of input '${feed.name}' ${why}`),
    );
    return new make(type, texts, feed.shape);
  }
  if (datatype === "BF16") throw new Error(`${feed.name} is BF16, which this runtime does not take`);
  return new make(type, ortView(datatype, feed.buffer ?? common, feed.offset, feed.byteLength), feed.shape);
}

/** A run in the runtime's form. */
interface PreparedRun {
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly fetches: readonly string[];
  /** Bytes of the page that it reads. */
  readonly pageBytes: number;
}

function prepare({ ort, mirror }: Loaded, message: RunMessage): PreparedRun {
  const common = message.buffer ?? mirror;
  // Without a prototype: tensors may be called `__proto__` or `constructor`.
  const feeds = Object.create(null) as Record<string, Tensor>;
  for (const feed of message.feeds) feeds[feed.name] = feedTensor(ort, feed, common);
  return { feeds, fetches: message.fetches, pageBytes: message.pageBytes };
}

async function runOnce(
  { session, maxOutputBytes, page, mirror }: Loaded,
  { feeds, fetches, pageBytes }: PreparedRun,
): Promise<{ readonly outputs: readonly OutputMessage[]; readonly ranMs: number }> {
  if (page && pageBytes > 0) new Uint8Array(mirror, 0, pageBytes).set(page.inputs.subarray(0, pageBytes));
  let startedMs = performance.now();
  // The native build runs in the next turn of the event loop. Other work before it is not time of the run.
  const begins = setImmediate(() => (startedMs = performance.now()));
  const results = await session.run(feeds, fetches);
  clearImmediate(begins);
  const ranMs = performance.now() - startedMs;
  let bytes = 0;
  const tooMany = (): Refused =>
    refuse("memory-limit", `its outputs take more than the limit of ${maxOutputBytes} bytes`);
  const outputs = fetches.map((name) => {
    const tensor = results[name];
    if (!tensor) throw new Error(`it gave no tensor '${name}'`);
    const given = tensor.data as ArrayBufferView | readonly string[];
    const data = ArrayBuffer.isView(given) ? given : bytesOfStrings(given, maxOutputBytes - bytes);
    bytes += data?.byteLength ?? 0;
    if (!data || bytes > maxOutputBytes) throw tooMany();
    return { name, type: tensor.type, dims: tensor.dims, data };
  });
  return { outputs, ranMs };
}

/** Buffers of outputs, which are transferred with the answer. */
function buffersOf(outputs: readonly OutputMessage[]): readonly ArrayBuffer[] {
  return outputs.flatMap(({ data }) => (ArrayBuffer.isView(data) ? [data.buffer as ArrayBuffer] : []));
}

/** Returns the function that handles a runner's messages, in order. */
export function createRunner(importOrt: ImportOrt, reply: Reply): (message: ToRunner) => Promise<void> {
  let loaded: Loaded | undefined;
  let page: SharedPage | undefined;
  let prepared: PreparedRun | undefined;

  const answer: Reply = (message, transfer) => {
    if (page) {
      Atomics.store(page.busy, 0, 0);
      Atomics.notify(page.busy, 0);
    }
    reply(message, transfer);
  };

  const load = async (message: LoadMessage): Promise<void> => {
    if (message.shared) page = sharedPage(message.shared);
    const ort = await importOrt(message.backend, message.threads).catch((thrown: unknown) => {
      throw refuse(
        "unsupported",
        `ONNX Runtime (${message.backend}) does not start here: ${runtimeDetail(thrown)}`,
      );
    });
    const { session, provider, passedOver } = await createSession(ort, message);
    const inputs = specsOf(session.inputMetadata, (name) => {
      throw refuse("unsupported", `input '${name}' is not a tensor`);
    });
    const outputs = specsOf(session.outputMetadata, () => undefined);
    if (outputs.length === 0) throw refuse("unsupported", "none of its outputs is a tensor");
    const { maxOutputBytes } = message;
    loaded = {
      ort,
      session,
      maxOutputBytes,
      page,
      mirror: new ArrayBuffer(page ? pageBytes : 0),
      outputPage: page && outputPage(page.outputs),
    };
    const { node, web, common } = ort.env?.versions ?? {};
    const runtimeVersion = (message.backend === "native" ? node : web) ?? common ?? "";
    answer({ kind: "loaded", inputs, outputs, provider, passedOver, runtimeVersion }, []);
  };

  const run = async (message: RunMessage | AgainMessage): Promise<void> => {
    if (!loaded) throw new Error("no model is loaded");
    if (message.kind === "run") prepared = prepare(loaded, message);
    if (!prepared) throw new Error("there is no run to repeat");
    const { outputs, ranMs } = await runOnce(loaded, prepared);
    const buffer = message.kind === "run" ? message.buffer : undefined;
    const placed = loaded.outputPage?.place(outputs);
    if (placed?.same && !buffer) {
      answer({ kind: "same-outputs", ranMs }, []);
      return;
    }
    const back = buffer ? { buffer } : {};
    const buffers = placed ? [] : buffersOf(outputs);
    answer(
      { kind: "outputs", outputs: placed?.outputs ?? outputs, ranMs, ...back },
      buffer ? [...buffers, buffer] : buffers,
    );
  };

  return async (message) => {
    try {
      if (message.kind === "load") await load(message);
      else if (message.kind !== "release") await run(message);
      else {
        await loaded?.session.release();
        loaded = undefined;
        prepared = undefined;
        answer({ kind: "released" }, []);
      }
    } catch (thrown) {
      const buffer = message.kind === "run" ? message.buffer : undefined;
      const back = buffer ? { buffer } : {};
      const failed: FromRunner =
        thrown instanceof Refused && thrown.answer.kind === "failed"
          ? { ...thrown.answer, ...back }
          : {
              kind: "failed",
              reason: runtimeReason(thrown, message.kind === "load" ? "invalid-model" : "run-failed"),
              detail: runtimeDetail(thrown),
              ...back,
            };
      answer(failed, buffer ? [buffer] : []);
    }
  };
}
