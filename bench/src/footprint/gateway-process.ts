/**
 * A gateway in a process of its own, which tells what one request makes it do: `node gateway-process.js ROOT SERVER...` runs the
 * gateway of the checkout at ROOT before these servers. Its parent sends a `Question` and gets an answer of the same kind.
 */
import type { HeapProfiler } from "node:inspector";
import { Session } from "node:inspector/promises";
import { pathToFileURL } from "node:url";
import type * as longshore from "longshore";

/** Begin to count, or report the count. */
export type CountRequest =
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
  | { readonly kind: "port"; readonly port: number }
  | { readonly kind: "begun" }
  | { readonly kind: "calls"; readonly functions: readonly CalledFunction[] }
  | { readonly kind: "bytes"; readonly bytes: number }
  | { readonly kind: "samples"; readonly files: readonly AllocatingFile[] };

const [root = "", ...servers] = process.argv.slice(2);
const entry = pathToFileURL(`${root}/packages/longshore/dist/index.js`).href;
const { gateway } = (await import(entry)) as typeof longshore;
const running = await gateway({ port: 0, dataClass: "public", id: "footprint", servers });
const session = new Session();
session.connect();
let heldBytes = 0;
/** Mean distance of two samples, in bytes. */
const sampledBytes = 512;

async function answerTo(question: CountRequest): Promise<Answer> {
  switch (question) {
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
tell({ kind: "port", port: Number(new URL(running.address).port) });
