import { Worker } from "node:worker_threads";
import { type Call, LongshoreError } from "@longshore/core";
import type { Artifact, ModelSource } from "@longshore/engine";
import { onnxSource } from "@longshore/graph";
import { builtFile, builtOptions, sha256 } from "@longshore/nodejs";
import {
  endMessage,
  type GraphAnswer,
  type GraphQuestion,
  type GraphReply,
  type GraphRequest,
  type ThreadData,
} from "./graph-message.ts";
import { type MakeWhole, besideModel, wholeModel } from "./whole-models.ts";

/*
 * Reading, cutting and writing a model file of 100 MB takes some hundred milliseconds, and so does the analysis of a graph of
 * thousands of nodes, while which a server would answer nobody. So a thread of its own does it, which is started when the
 * first such file comes. Its bytes move there and back without a copy. A file that cannot be read, or that takes all the
 * memory of the thread, fails its own load.
 */

/** Files below this are analysed at once: starting a thread and asking it costs more. Some hundred nodes at most. */
const smallBytes = 32_768;

/** What reads model files away from the calling thread. */
export interface GraphThread {
  readonly source: ModelSource;
  readonly makeWhole: MakeWhole;
  /** Ends the thread. Idempotent; what is asked afterwards is refused, `shutting-down`. */
  close(): Promise<void>;
}

interface Pending {
  resolve(answer: GraphAnswer): void;
  reject(why: LongshoreError): void;
}

/** Sends questions to the thread, which is started with the first, and again after one that died. */
class Thread {
  readonly #pending = new Map<number, Pending>();
  readonly #niceness: number;
  #worker: Worker | undefined;
  #lastId = 0;
  #closed: Promise<void> | undefined;

  constructor(niceness: number) {
    this.#niceness = niceness;
  }

  ask(request: Omit<GraphRequest, "id">): Promise<GraphAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        throw new LongshoreError(
          "shutting-down",
          "resolve",
          "the engine that the model belongs to is closed",
        );
      }
      const worker = (this.#worker ??= this.#start());
      const id = ++this.#lastId;
      const { bytes, question } = request;
      const beside = question.ask === "whole" ? [...(question.beside?.values() ?? [])] : [];
      const moved = [...(bytes ? [bytes] : []), ...beside].map(wholeBuffer);
      worker.postMessage(
        { id, ...request } satisfies GraphRequest,
        moved.filter((buffer) => buffer !== undefined),
      );
      this.#pending.set(id, { resolve, reject });
      worker.ref();
    });
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      const worker = this.#worker;
      if (!worker) {
        resolve();
        return;
      }
      // It ends by itself, after what it was asked: a thread that is ended while it loads its modules leaves files open.
      worker.ref();
      worker.once("exit", () => resolve());
      worker.postMessage(endMessage);
    });
    return this.#closed;
  }

  #start(): Worker {
    const execArgv = builtOptions(process.execArgv);
    const worker = new Worker(builtFile("graph-worker.js", import.meta.url), {
      workerData: { niceness: this.#niceness } satisfies ThreadData,
      ...(execArgv ? { execArgv } : {}),
    });
    const ended = (cause: unknown): void => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const { reject } of this.#pending.values()) {
        reject(
          new LongshoreError("runtime-crashed", "resolve", "the thread that read the model file died", {
            cause,
          }),
        );
      }
      this.#pending.clear();
    };
    worker.on("error", ended);
    worker.on("exit", (code) => ended(new Error(`exit code ${code}`)));
    worker.on("message", ({ id, answer }: GraphReply) => {
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      // An idle thread does not keep the program alive.
      if (this.#pending.size === 0) worker.unref();
      pending?.resolve(answer);
    });
    worker.unref();
    return worker;
  }
}

/** The buffer of some bytes where they are all of it: other memory is copied. */
function wholeBuffer({ buffer, byteLength }: Uint8Array): ArrayBuffer | undefined {
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? buffer : undefined;
}

function unexpected(answer: GraphAnswer): LongshoreError {
  return answer.kind === "failed"
    ? new LongshoreError(answer.reason, answer.stage, answer.message)
    : new LongshoreError("internal", "resolve", `the thread that reads model files answered ${answer.kind}`);
}

/**
 * A thread for model files. Nothing is started before the first large one.
 *
 * @param niceness By how much more than the calling thread it lets others have the cores, as workers of a runtime.
 */
export function graphThread(niceness = 0): GraphThread {
  const thread = new Thread(niceness);
  const here = onnxSource({ sha256 });

  /** Asks about a file, which is read only where the thread does not know it. */
  async function about(file: Artifact, question: GraphQuestion, call: Call): Promise<GraphAnswer> {
    const { digest, byteLength } = file;
    const answer = await thread.ask({ digest, byteLength, question });
    if (answer.kind !== "unknown") return answer;
    return thread.ask({ digest, byteLength, question, bytes: await file.bytes(call) });
  }

  async function part(file: Artifact, question: GraphQuestion, call: Call): Promise<Artifact> {
    const first = await about(file, question, call);
    if (first.kind === "same") return file;
    if (first.kind !== "file") throw unexpected(first);
    const { digest } = first;
    const { byteLength } = first.bytes;
    // The first reader gets what was just written; later ones have it written again, because readers own their bytes.
    let ready: Uint8Array | undefined = first.bytes;
    return {
      digest,
      byteLength,
      async bytes(again) {
        const bytes = ready;
        ready = undefined;
        if (bytes) return bytes;
        const answer = await about(file, question, again);
        if (answer.kind === "file") return answer.bytes;
        throw unexpected(answer);
      },
    };
  }

  const source: ModelSource = {
    async inspect(file, call) {
      if (file.byteLength < smallBytes) return here.inspect(file, call);
      const answer = await about(file, { ask: "inspect" }, call);
      if (answer.kind === "signature") return answer.signature;
      throw unexpected(answer);
    },
    async cuts(file, call) {
      if (file.byteLength < smallBytes) return here.cuts(file, call);
      const answer = await about(file, { ask: "cuts" }, call);
      if (answer.kind === "cuts") return answer.cuts;
      throw unexpected(answer);
    },
    async extract(file, from, to, call) {
      if (file.byteLength < smallBytes) return here.extract(file, from, to, call);
      return part(file, { ask: "extract", from, to }, call);
    },
  };

  async function makeWhole(
    bytes: Uint8Array,
    read: (file: string) => Promise<Uint8Array | undefined>,
  ): Promise<Uint8Array> {
    const { byteLength } = bytes;
    const ask = (content: Uint8Array, beside?: ReadonlyMap<string, Uint8Array>): Promise<GraphAnswer> =>
      thread.ask({
        digest: "",
        byteLength,
        bytes: content,
        question: { ask: "whole", ...(beside ? { beside } : {}) },
      });
    let answer = await ask(bytes);
    if (answer.kind === "beside") {
      answer = await ask(answer.bytes, await besideModel(answer.files, byteLength, read));
    }
    if ((answer.kind === "same" || answer.kind === "file") && answer.bytes) return answer.bytes;
    throw unexpected(answer);
  }

  return {
    source,
    makeWhole: (bytes, read) =>
      bytes.byteLength < smallBytes ? wholeModel(bytes, read) : makeWhole(bytes, read),
    close: () => thread.close(),
  };
}
