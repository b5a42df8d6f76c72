/**
 * The file that the thread runs which reads and cuts model files (`graphThread`).
 *
 * @module
 */
import { createHash } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import { LongshoreError } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { Artifact } from "@longshore/engine";
import { onnxSource } from "@longshore/graph";
import type { ThreadData } from "@longshore/nodejs";
import { endMessage, type GraphAnswer, type GraphRequest } from "./graph-message.ts";
import { outsideFilesOf, wholeOf } from "./whole-models.ts";

if (!parentPort) throw new Error("this file is started by graphThread, as a worker thread");
const port = parentPort;
if ((workerData as ThreadData).niceness > 0) {
  // A thread without other work to give way to, as on a device, would load its modules for longer than most files take.
  const { yieldAsConfigured } = await import("@longshore/nodejs");
  yieldAsConfigured(workerData);
}

const source = onnxSource({
  sha256: (bytes) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
});
const call = housekeepingCall("graph");

/** Thrown where a file would have to be read that did not come along. */
class Unknown extends Error {}

function whole(bytes: Uint8Array, beside: ReadonlyMap<string, Uint8Array> | undefined): GraphAnswer {
  const files = beside ? [] : outsideFilesOf(bytes);
  if (files.length > 0) return { kind: "beside", files, bytes };
  const made = wholeOf(bytes, beside ?? new Map());
  return made === bytes ? { kind: "same", bytes } : { kind: "file", digest: "", bytes: made };
}

async function answerTo({ question, digest, byteLength, bytes }: GraphRequest): Promise<GraphAnswer> {
  const file: Artifact = {
    digest,
    byteLength,
    bytes: () => (bytes ? Promise.resolve(bytes) : Promise.reject(new Unknown())),
  };
  switch (question.ask) {
    case "inspect":
      return { kind: "signature", signature: await source.inspect(file, call) };
    case "cuts":
      return { kind: "cuts", cuts: await source.cuts(file, call) };
    case "extract": {
      const part = await source.extract(file, question.from, question.to, call);
      if (part === file) return { kind: "same" };
      return { kind: "file", digest: part.digest, bytes: await part.bytes(call) };
    }
    case "whole":
      return whole(await file.bytes(call), question.beside);
  }
}

function failed(thrown: unknown): GraphAnswer {
  if (thrown instanceof Unknown) return { kind: "unknown" };
  const { reason, stage, message } = LongshoreError.from(thrown, "resolve", "reading a model file");
  return { kind: "failed", reason, stage, message };
}

port.on("message", (request: GraphRequest | typeof endMessage) => {
  if (request === endMessage) {
    port.close();
    return;
  }
  void answerTo(request)
    .catch(failed)
    .then((answer) => {
      // Files own their memory as a whole, those that came as those that were made.
      const moved = "bytes" in answer && answer.bytes ? [answer.bytes.buffer as ArrayBuffer] : [];
      port.postMessage(answer, moved);
    });
});
