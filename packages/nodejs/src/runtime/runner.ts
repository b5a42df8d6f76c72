import type { TensorSpec } from "@longshore/core";
import type { InferenceSession, Tensor } from "onnxruntime-common";
import { datatypeOf, ortTypeOf, ortView } from "./ort-types.ts";
import type {
  Backend,
  FeedMessage,
  FromRunner,
  LoadMessage,
  OutputMessage,
  PassedOver,
  RunMessage,
  ToRunner,
} from "./runner-message.ts";
import { runtimeDetail, runtimeReason } from "./runtime-detail.ts";

/*
 * The inside of a worker: one session of ONNX Runtime behind messages. Both builds, native and WebAssembly, share the
 * interface of onnxruntime-common, so this is the whole of it for both, in Node.js and in a browser.
 */

/** What both builds export. */
export interface Ort {
  readonly InferenceSession: {
    create(bytes: Uint8Array, options: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  readonly Tensor: typeof Tensor;
}

/** Loads a build of ONNX Runtime. */
export type ImportOrt = (backend: Backend, threads: number) => Promise<Ort>;

/** Sends an answer; the listed buffers go along. */
export type Reply = (message: FromRunner, transfer: readonly ArrayBuffer[]) => void;

function sessionOptions(message: LoadMessage, provider: string): InferenceSession.SessionOptions {
  return {
    executionProviders: [provider],
    intraOpNumThreads: message.threads,
    interOpNumThreads: 1,
    // Everything that matters comes back as an exception; the log would go to the host program's stderr.
    logSeverityLevel: 4,
    extra: {
      session: {
        // Threads that wait must not burn cores that other sessions need.
        intra_op: { allow_spinning: "0" },
        inter_op: { allow_spinning: "0" },
        // A model that is given as bytes may name files relative to the working directory, and the runtime would read
        // them into its weights. No folder of this name exists, so no file can be named.
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

function refuse(reason: "unsupported" | "invalid-model" | "memory-limit", detail: string): Refused {
  return new Refused({ kind: "failed", reason, detail });
}

/** Provider lists do not fall back: a provider that is missing fails the load, so each is tried by itself, in order. */
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
    // Was it the model or the providers? The one provider that is always there tells.
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

/** Specs of the tensors among some values; others (sequences, maps) are left out and told to `other`. */
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
    const datatype = datatypeOf(value.type);
    if (datatype === undefined) {
      throw refuse(
        "unsupported",
        `'${value.name}' has elements of type ${value.type}, which cannot be carried`,
      );
    }
    const shape = value.shape.map((size) => (typeof size === "number" ? size : -1));
    specs.push({ name: value.name, datatype, shape });
  }
  return specs;
}

function feedTensor(ort: Ort, feed: FeedMessage, common: ArrayBuffer): Tensor {
  const type = ortTypeOf(feed.datatype);
  const { datatype } = feed;
  // The constructor's overloads are one per element type; which one holds is known only here, at run time.
  const make = ort.Tensor as unknown as new (
    type: string | undefined,
    data: unknown,
    dims: readonly number[],
  ) => Tensor;
  if (datatype === "BYTES") return new make(type, feed.texts, feed.shape);
  if (datatype === "BF16") throw new Error(`${feed.name} is BF16, which this runtime does not take`);
  return new make(type, ortView(datatype, feed.buffer ?? common, feed.offset, feed.byteLength), feed.shape);
}

async function runOnce(
  ort: Ort,
  session: InferenceSession,
  message: RunMessage,
  maxOutputBytes: number,
): Promise<{ outputs: readonly OutputMessage[]; transfer: readonly ArrayBuffer[] }> {
  // No prototype: tensors may be called `__proto__` or `constructor`.
  const feeds = Object.create(null) as Record<string, Tensor>;
  for (const feed of message.feeds) feeds[feed.name] = feedTensor(ort, feed, message.buffer);
  const results = await session.run(feeds, message.fetches);
  const outputs: OutputMessage[] = [];
  const transfer: ArrayBuffer[] = [];
  let bytes = 0;
  for (const name of message.fetches) {
    const tensor = results[name];
    if (!tensor) throw new Error(`it gave no tensor '${name}'`);
    const data = tensor.data as ArrayBufferView | readonly string[];
    if (ArrayBuffer.isView(data)) {
      bytes += data.byteLength;
      if (bytes > maxOutputBytes) {
        throw refuse("memory-limit", `its outputs take more than the limit of ${maxOutputBytes} bytes`);
      }
      transfer.push(data.buffer as ArrayBuffer);
    }
    outputs.push({ name, type: tensor.type, dims: tensor.dims, data });
  }
  return { outputs, transfer };
}

/** Makes the function that handles a runner's messages, in order. */
export function createRunner(importOrt: ImportOrt, reply: Reply): (message: ToRunner) => Promise<void> {
  let loaded: { ort: Ort; session: InferenceSession; maxOutputBytes: number } | undefined;
  let busy: Int32Array | undefined;

  const answer: Reply = (message, transfer) => {
    if (busy) {
      Atomics.store(busy, 0, 0);
      Atomics.notify(busy, 0);
    }
    reply(message, transfer);
  };

  const load = async (message: LoadMessage): Promise<void> => {
    if (message.busy) busy = new Int32Array(message.busy);
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
    loaded = { ort, session, maxOutputBytes: message.maxOutputBytes };
    answer({ kind: "loaded", inputs, outputs, provider, passedOver }, []);
  };

  const run = async (message: RunMessage): Promise<void> => {
    if (!loaded) throw new Error("no model is loaded");
    const { outputs, transfer } = await runOnce(loaded.ort, loaded.session, message, loaded.maxOutputBytes);
    answer({ kind: "outputs", outputs, buffer: message.buffer }, [...transfer, message.buffer]);
  };

  return async (message) => {
    try {
      if (message.kind === "load") await load(message);
      else if (message.kind === "run") await run(message);
      else {
        await loaded?.session.release();
        loaded = undefined;
        answer({ kind: "released" }, []);
      }
    } catch (thrown) {
      const back = message.kind === "run" ? { buffer: message.buffer } : {};
      const failed: FromRunner =
        thrown instanceof Refused && thrown.answer.kind === "failed"
          ? { ...thrown.answer, ...back }
          : {
              kind: "failed",
              reason: runtimeReason(thrown, message.kind === "load" ? "invalid-model" : "run-failed"),
              detail: runtimeDetail(thrown),
              ...back,
            };
      answer(failed, message.kind === "run" ? [message.buffer] : []);
    }
  };
}
