/**
 * A gateway, server or app in a process of its own, which reports the work of one request: `node subject-process.js ROOT KIND PART...` runs
 * the checkout at ROOT. The parts of a gateway are its servers, of a server or app the folder of its models. The parent process sends a
 * `CountRequest` and gets an `Answer`.
 */
import type { HeapProfiler } from "node:inspector";
import { Session } from "node:inspector/promises";
import { pathToFileURL } from "node:url";
import type * as longshore from "longshore";
import { floatsOf1k } from "../mean-request.ts";

/** The programs whose work is counted. An app calls `infer()` and runs the model on its own device. */
export type SubjectKind = "gateway" | "server" | "device";

/** Begin to count, or report the count; `infer`: an app infers once. */
export type CountRequest =
  | "infer"
  | "count-calls"
  | "calls"
  | "stop-calls"
  | "count-bytes"
  | "bytes"
  | "sample-bytes"
  | "samples";

/** Bytes of objects that the functions of a file allocated, by samples. */
export interface AllocatingFile {
  readonly url: string;
  readonly bytes: number;
}

/** A function that was called, and how often. */
export interface CalledFunction {
  /** Of its file. */
  readonly url: string;
  readonly name: string;
  /** Where it begins in its file. */
  readonly at: number;
  readonly calls: number;
}

export type Answer =
  /** The port is 0 for an app. */
  | { readonly kind: "port"; readonly port: number }
  | { readonly kind: "begun" }
  | { readonly kind: "calls"; readonly functions: readonly CalledFunction[] }
  | { readonly kind: "bytes"; readonly bytes: number }
  | { readonly kind: "samples"; readonly files: readonly AllocatingFile[] };

const [root = "", kind = "", ...given] = process.argv.slice(2);
const entry = pathToFileURL(`${root}/packages/longshore/dist/index.js`).href;
const { float32Tensor, gateway, openModel, openOffloader, serve } = (await import(entry)) as typeof longshore;

interface Subject {
  readonly port: number;
  /** Infers once in this process. */
  infer(): Promise<void>;
}

async function open(): Promise<Subject> {
  const [repository = ""] = given;
  const infer = (): Promise<void> => Promise.reject(new Error(`a ${kind} is called through its port`));
  if (kind === "device") {
    const offloader = await openOffloader({ repository });
    const x = float32Tensor("x", [1, floatsOf1k], new Float32Array(floatsOf1k).fill(3));
    return { port: 0, infer: async () => void (await offloader.infer("mean", { x })) };
  }
  const running =
    kind === "server"
      ? await serve({ port: 0, id: "footprint", store: (await openModel(repository)).store })
      : await gateway({ port: 0, dataClass: "public", id: "footprint", servers: given });
  return { port: Number(new URL(running.address).port), infer };
}

const subject = await open();
const session = new Session();
session.connect();
let heldBytes = 0;
/** Mean distance of two samples, in bytes. */
const sampledBytes = 512;

async function answerTo(question: CountRequest): Promise<Answer> {
  switch (question) {
    case "infer":
      await subject.infer();
      return { kind: "begun" };
    case "count-calls":
      await session.post("Profiler.enable");
      await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
      return { kind: "begun" };
    case "calls": {
      const { result } = await session.post("Profiler.takePreciseCoverage");
      const functions = result.flatMap(({ url, functions: found }) =>
        found.map(({ functionName: name, ranges }) => ({
          url,
          name,
          at: ranges[0]?.startOffset ?? 0,
          calls: ranges[0]?.count ?? 0,
        })),
      );
      return { kind: "calls", functions: functions.filter(({ calls }) => calls > 0) };
    }
    case "stop-calls":
      await session.post("Profiler.stopPreciseCoverage");
      await session.post("Profiler.disable");
      return { kind: "begun" };
    case "count-bytes":
      globalThis.gc?.();
      heldBytes = process.memoryUsage().heapUsed;
      return { kind: "begun" };
    case "bytes":
      return { kind: "bytes", bytes: process.memoryUsage().heapUsed - heldBytes };
    case "sample-bytes":
      await session.post("HeapProfiler.startSampling", {
        samplingInterval: sampledBytes,
        includeObjectsCollectedByMajorGC: true,
        includeObjectsCollectedByMinorGC: true,
      });
      return { kind: "begun" };
    case "samples": {
      const { profile } = await session.post("HeapProfiler.stopSampling");
      return { kind: "samples", files: bytesByFile(profile.head) };
    }
  }
}

/** The bytes of each file, below a node of the tree of calls. Work without a file belongs to its caller's. */
function bytesByFile(head: HeapProfiler.SamplingHeapProfileNode): AllocatingFile[] {
  const found = new Map<string, number>();
  const add = (node: HeapProfiler.SamplingHeapProfileNode, caller: string): void => {
    const url = node.callFrame.url || caller;
    found.set(url, (found.get(url) ?? 0) + node.selfSize);
    for (const child of node.children) add(child, url);
  };
  add(head, "");
  return Array.from(found, ([url, bytes]) => ({ url, bytes }));
}

function tell(answer: Answer): void {
  process.send?.(answer);
}

process.on("message", (question: CountRequest) => void answerTo(question).then(tell));
process.on("disconnect", () => process.exit());
tell({ kind: "port", port: subject.port });
