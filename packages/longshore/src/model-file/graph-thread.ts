import { Worker } from "node:worker_threads";
import { type Call, LongshoreError } from "@longshore/core";
import { untilAborted } from "@longshore/core/internal";
import type { Artifact, ModelSource } from "@longshore/engine";
import { countNodes, onnxSource } from "@longshore/graph";
import { builtFile, sha256, type ThreadData } from "@longshore/nodejs";
import { endMessage, type GraphAnswer, type GraphQuestion, type GraphRequest } from "./graph-message.ts";
import { type MakeWhole, besideModel, outsideFilesOf, wholeOf } from "./whole-models.ts";

/*
 * Reading, cutting and writing a model file of 100 MB takes some hundred milliseconds, and so does the analysis of a graph of
 * thousands of nodes; a server would answer no request meanwhile. So a thread of its own does it, which is started when the
 * first such file comes. Its bytes move there and back without a copy. A file that cannot be read, or that takes all the memory
 * of the thread, fails its own load: the thread has one request at a time, and the waiting ones go to the next thread.
 */

/**
 * Smaller files with few nodes are analysed on this thread. That takes some ten milliseconds; starting a thread takes half a second of
 * processor time, during which a new endpoint seems slow.
 */
const defaultSmallBytes = 2 * 2 ** 20;
/** Graphs with fewer nodes are analysed on this thread. */
const smallNodes = 500;

/** Files below the number of bytes of which it is remembered whether they have few nodes; the oldest goes. */
const mostCounted = 1024;

/** The source that analyses a file, undefined for the thread; and the file, which may have been read for that. */
interface Chosen {
  readonly source: ModelSource | undefined;
  readonly file: Artifact;
}

/** The thread that reads model files for the calling one. */
export interface GraphThread {
  readonly source: ModelSource;
  readonly makeWhole: MakeWhole;
  /** Ends the thread. Idempotent; later requests are refused with `shutting-down`. */
  close(): Promise<void>;
}

/** A question that waits or is under way. */
interface Asked {
  readonly request: GraphRequest;
  resolve(answer: GraphAnswer): void;
  reject(why: LongshoreError): void;
}

/** Sends questions to the thread one by one. It is started with the first, and again after one that died. */
class Thread {
  readonly #waiting: Asked[] = [];
  readonly #niceness: number;
  #underWay: Asked | undefined;
  #worker: Worker | undefined;
  #closed: Promise<void> | undefined;
  #whenEnded: (() => void) | undefined;

  constructor(niceness: number) {
    this.#niceness = niceness;
  }

  ask(request: GraphRequest): Promise<GraphAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        throw new LongshoreError(
          "shutting-down",
          "resolve",
          "the engine that the model belongs to is closed",
        );
      }
      this.#waiting.push({ request, resolve, reject });
      this.#next();
    });
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#whenEnded = resolve;
      this.#next();
    });
    return this.#closed;
  }

  /** Sends what has waited for longest, unless a question is under way. */
  #next(): void {
    if (this.#underWay) return;
    const next = this.#waiting.shift();
    if (!next) {
      this.#rest();
      return;
    }
    this.#underWay = next;
    try {
      const worker = (this.#worker ??= this.#start());
      const { bytes, question } = next.request;
      const beside = question.ask === "whole" ? [...(question.beside?.values() ?? [])] : [];
      const moved = [...(bytes ? [bytes] : []), ...beside].map(wholeBuffer);
      worker.ref();
      worker.postMessage(
        next.request,
        moved.filter((buffer) => buffer !== undefined),
      );
    } catch (thrown) {
      this.#settle(({ reject }) =>
        reject(LongshoreError.from(thrown, "resolve", "asking the thread that reads model files")),
      );
    }
  }

  #rest(): void {
    // An idle thread does not keep the program alive.
    if (!this.#whenEnded) this.#worker?.unref();
    else if (!this.#worker) this.#whenEnded();
    else {
      // It ends by itself: a thread that is ended while it loads its modules leaves files open.
      this.#worker.ref();
      this.#worker.postMessage(endMessage);
    }
  }

  /** The request under way has ended. */
  #settle(how: (asked: Asked) => void): void {
    const asked = this.#underWay;
    this.#underWay = undefined;
    if (asked) how(asked);
    this.#next();
  }

  #start(): Worker {
    const worker = new Worker(builtFile("graph-worker.js", import.meta.url), {
      workerData: { niceness: this.#niceness } satisfies ThreadData,
    });
    /** Why it ends, if that is no order: its later messages are ignored. */
    let cause: unknown;
    worker.on("error", (error) => (cause ??= error));
    worker.on("messageerror", (error) => {
      cause ??= error;
      worker.postMessage(endMessage);
    });
    worker.on("message", (answer: GraphAnswer) => {
      if (cause === undefined) this.#settle(({ resolve }) => resolve(answer));
    });
    // Its last event, after any error.
    worker.on("exit", (code) => {
      this.#worker = undefined;
      const died = new LongshoreError(
        "runtime-crashed",
        "resolve",
        "the thread that read the model file died",
        { cause: cause ?? new Error(`exit code ${code}`) },
      );
      this.#settle(({ reject }) => reject(died));
    });
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
 * @param smallBytes Files below this, with the weights beside them and with fewer than 500 nodes, are read on the calling
 * thread. Default 2 MiB.
 */
export function graphThread(niceness = 0, smallBytes: number = defaultSmallBytes): GraphThread {
  const thread = new Thread(niceness);
  const here = onnxSource({ sha256 });

  const isSmall = (bytes: Uint8Array): boolean =>
    bytes.byteLength < smallBytes && countNodes(bytes, smallNodes) < smallNodes;

  /** Whether files are small, by digest. */
  const counted = new Map<string, boolean>();

  /** The source that analyses a file, returned at once if its bytes need not be read for that. */
  function chosenFor(file: Artifact, call: Call): Chosen | Promise<Chosen> {
    if (file.byteLength >= smallBytes) return { source: undefined, file };
    const known = counted.get(file.digest);
    return known === undefined ? counting(file, call) : { source: known ? here : undefined, file };
  }

  async function counting(file: Artifact, call: Call): Promise<Chosen> {
    let ready: Uint8Array | undefined = await file.bytes(call);
    const small = isSmall(ready);
    counted.set(file.digest, small);
    for (const digest of counted.keys()) if (counted.size > mostCounted) counted.delete(digest);
    // The next reader gets what was just read.
    const read: Artifact = {
      ...file,
      async bytes(again) {
        const bytes = ready ?? (await file.bytes(again));
        ready = undefined;
        return bytes;
      },
    };
    return { source: small ? here : undefined, file: read };
  }

  /** Files on their way to the thread, by digest. */
  const sending = new Map<string, Promise<GraphAnswer>>();

  async function send(file: Artifact, question: GraphQuestion, call: Call): Promise<GraphAnswer> {
    const { digest, byteLength } = file;
    return thread.ask({ digest, byteLength, question, bytes: await file.bytes(call) });
  }

  /** A request about a file, which is read only if the thread does not know it, and once for all callers meanwhile. */
  async function about(file: Artifact, question: GraphQuestion, call: Call): Promise<GraphAnswer> {
    const { digest, byteLength } = file;
    for (;;) {
      const answer = await thread.ask({ digest, byteLength, question });
      if (answer.kind !== "unknown") return answer;
      const others = sending.get(digest);
      if (!others) break;
      // Others failing to read the file does not concern this call; if their copy crashed the thread, ours would too.
      await untilAborted(
        others.then(
          () => undefined,
          (why: unknown) => {
            if (LongshoreError.is(why) && why.reason === "runtime-crashed") throw why;
          },
        ),
        call.abort,
        "resolve",
      );
    }
    const sent = send(file, question, call);
    sending.set(digest, sent);
    try {
      return await sent;
    } finally {
      sending.delete(digest);
    }
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
    async inspect(asked, call) {
      const chosen = chosenFor(asked, call);
      const { source: small, file } = chosen instanceof Promise ? await chosen : chosen;
      if (small) return small.inspect(file, call);
      const answer = await about(file, { ask: "inspect" }, call);
      if (answer.kind === "signature") return answer.signature;
      throw unexpected(answer);
    },
    async cuts(asked, call) {
      const chosen = chosenFor(asked, call);
      const { source: small, file } = chosen instanceof Promise ? await chosen : chosen;
      if (small) return small.cuts(file, call);
      const answer = await about(file, { ask: "cuts" }, call);
      if (answer.kind === "cuts") return answer.cuts;
      throw unexpected(answer);
    },
    async extract(asked, from, to, call) {
      const chosen = chosenFor(asked, call);
      const { source: small, file } = chosen instanceof Promise ? await chosen : chosen;
      const made = await (small
        ? small.extract(file, from, to, call)
        : part(file, { ask: "extract", from, to }, call));
      return made === file ? asked : made;
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
    let answer: GraphAnswer;
    if (isSmall(bytes)) {
      const beside = await besideModel(outsideFilesOf(bytes), byteLength, read);
      const besideBytes = [...beside.values()].reduce((sum, one) => sum + one.byteLength, 0);
      if (byteLength + besideBytes < smallBytes) return wholeOf(bytes, beside);
      answer = await ask(bytes, beside);
    } else {
      answer = await ask(bytes);
      if (answer.kind === "beside") {
        answer = await ask(answer.bytes, await besideModel(answer.files, byteLength, read));
      }
    }
    if ((answer.kind === "same" || answer.kind === "file") && answer.bytes) return answer.bytes;
    throw unexpected(answer);
  }

  return {
    source,
    makeWhole,
    close: () => thread.close(),
  };
}
