import { Worker } from "node:worker_threads";
import { type Json, LongshoreError, type Tensor, type Tensors } from "@longshore/core";
import type { ChainResult, ChainStep } from "@longshore/engine";
import type { ThreadData } from "../runtime/yield-cores.ts";
import {
  type EndMessage,
  type PackedStep,
  type ChainMessage,
  send,
  unpack,
  unpackError,
} from "./lane-message.ts";

/** One worker thread of a lane. It runs one chain at a time. */
export interface LaneThread {
  /** False while a chain runs and after the thread has died. */
  idle(): boolean;
  /** Runs a chain; rejects with `runtime-crashed` when the thread dies. */
  run(chain: readonly ChainStep[], values: Tensors, keep: readonly string[]): Promise<ChainResult>;
  /** Asks the chain under way to stop at its next step or element. */
  stop(): void;
  /** Ends the thread, after the chain under way. */
  close(): Promise<void>;
}

/** Numbers for parameters by identity of their object, the same for all threads of a lane. */
export type ParameterNumbers = (parameters: object) => number;

/** How many parameter objects a thread remembers; a lane serves few models, each with few transforms. */
const maxRemembered = 512;

interface UnderWay {
  readonly id: number;
  resolve(result: ChainResult): void;
  reject(error: LongshoreError): void;
}

/** Starts a thread. `died` is called when it ends without having been closed. */
export function laneThread(
  url: URL,
  workerData: ThreadData,
  numberOf: ParameterNumbers,
  died: () => void,
): LaneThread {
  const worker = new Worker(url, { workerData });
  const stopped = new SharedArrayBuffer(4);
  const stoppedRun = new Int32Array(stopped);
  const remembered = new Set<number>();
  let underWay: UnderWay | undefined;
  let ended: Promise<void> = Promise.resolve();
  let settle = (): void => undefined;
  /** Resolves when the thread has loaded its file, or has failed to. */
  const loaded = new Promise<void>((resolve) => {
    settle = resolve;
  });
  let lastId = 0;
  let state: "open" | "closing" | "dead" = "open";
  // An idle lane must not keep the program alive
  worker.unref();

  function die(cause: unknown): void {
    settle();
    if (state === "dead") return;
    const closing = state === "closing";
    state = "dead";
    underWay?.reject(
      new LongshoreError(
        "runtime-crashed",
        "execute",
        "the thread that ran the transforms died; another one replaces it",
        { cause },
      ),
    );
    underWay = undefined;
    if (!closing) died();
  }

  worker.on("error", die);
  worker.on("exit", (code) => die(new Error(`the thread ended with exit code ${code}`)));
  worker.on("messageerror", die);
  worker.on("message", (message: EndMessage) => {
    settle();
    if ("loaded" in message || message.id !== underWay?.id) return;
    const { resolve, reject } = underWay;
    underWay = undefined;
    worker.unref();
    if ("error" in message) reject(unpackError(message.error));
    else resolve({ values: unpack(message.values), tookMs: message.tookMs });
  });

  /** Steps with their parameters by number, and what the thread has to learn and forget for that. */
  function packChain(chain: readonly ChainStep[]): Pick<ChainMessage, "chain" | "learn" | "forget"> {
    const learn = new Map<number, Json>();
    const packed = chain.map(({ parameters, ...step }): PackedStep => {
      if (typeof parameters !== "object" || parameters === null) {
        return { ...step, parameters: { value: parameters } };
      }
      const known = numberOf(parameters);
      if (!remembered.delete(known)) learn.set(known, parameters);
      remembered.add(known);
      return { ...step, parameters: { known } };
    });
    // insertion order is order of last use; the transforms of this chain came last and stay
    const surplus = Math.min(remembered.size - maxRemembered, remembered.size - chain.length);
    const forget = surplus > 0 ? [...remembered].slice(0, surplus) : [];
    for (const known of forget) remembered.delete(known);
    return { chain: packed, learn: [...learn], forget };
  }

  return {
    idle: () => state === "open" && !underWay,
    run(chain, values, keep) {
      const id = (lastId = (lastId % 0x7fffffff) + 1);
      const packed = packChain(chain);
      const result = new Promise<ChainResult>((resolve, reject) => {
        underWay = { id, resolve, reject };
        worker.ref();
        try {
          send(
            worker,
            needed(chain, values, keep),
            ({ given }) => given === true,
            (tensors) => ({ id, ...packed, values: tensors, keep, stopped }),
          );
        } catch (thrown) {
          // nothing was sent, so nothing was learnt either
          for (const [known] of packed.learn) remembered.delete(known);
          underWay = undefined;
          worker.unref();
          reject(LongshoreError.from(thrown, "execute", "sending a chain to a lane"));
        }
      });
      ended = result.then(
        () => undefined,
        () => undefined,
      );
      return result;
    },
    stop() {
      if (underWay) Atomics.store(stoppedRun, 0, underWay.id);
    },
    async close() {
      if (state === "open") state = "closing";
      // Terminating a thread inside native code can abort the whole program, and one that loads its modules leaves their
      // files open. Until it is gone the program must not end.
      worker.ref();
      await Promise.all([ended, loaded]);
      await worker.terminate();
    },
  };
}

/** The values that the chain reads or that must come back; no other is worth copying. */
function needed(chain: readonly ChainStep[], values: Tensors, keep: readonly string[]): Tensors {
  const names = new Set([
    ...keep,
    ...chain.flatMap(({ inputs, forEach }) => [...Object.values(inputs), forEach]),
  ]);
  return new Map([...values].filter((entry): entry is [string, Tensor] => names.has(entry[0])));
}
