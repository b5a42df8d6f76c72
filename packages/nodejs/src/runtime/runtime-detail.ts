import type { Reason } from "@longshore/core";

const sourceLocation = /\S*\.(?:cc|cpp|h|hpp)(?::\d+)?\S*/g;
const signature =
  /(?:\b(?:virtual |static )?(?:void|bool|const)\b[^()]*|\bonnxruntime::[\w:]+)\([^()]*\)(?: const)?/g;
const outsideFile = /external data|external_data|External data/;
const outOfMemory = /bad_alloc|failed to allocate|allocation failed|out of memory|cannot allocate/i;
const unsupportedType = /unsupported data type/i;
const longest = 300;

/**
 * A runtime's error text in a safe form: one line, bounded, without locations in its source and without names of files. Names of nodes and
 * tensors stay, since they show the reader where to look.
 */
export function runtimeDetail(thrown: unknown): string {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  if (outsideFile.test(text))
    return "its weights lie in another file; only files that are complete are accepted";
  const line = text.replace(sourceLocation, "").replace(signature, "").replace(/\s+/g, " ").trim();
  return line.length > longest ? `${line.slice(0, longest)}...` : line;
}

/**
 * `unsupported` for element types outside the protocol, `memory-limit` if the runtime reports a failed allocation; otherwise the phase's
 * reason.
 */
export function runtimeReason(thrown: unknown, otherwise: Reason): Reason {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  if (unsupportedType.test(text)) return "unsupported";
  return outOfMemory.test(text) ? "memory-limit" : otherwise;
}
