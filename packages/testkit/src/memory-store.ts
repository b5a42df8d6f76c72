import { createHash } from "node:crypto";
import type { ModelStore } from "@longshore/engine";

/** `sha256:<hex>` of some bytes, in step with the caller so that seeds replay. */
export function sha256Of(bytes: Uint8Array): Promise<string> {
  return Promise.resolve(`sha256:${createHash("sha256").update(bytes).digest("hex")}`);
}

/** A store whose files a test can change. */
export interface MemoryStore extends ModelStore {
  put(path: string, content: Uint8Array | string): void;
  remove(path: string): void;
  /** Paths that were read, in order. */
  readonly reads: readonly string[];
}

/** A model repository in memory: path to content. */
export function memoryStore(initial: Readonly<Record<string, Uint8Array | string>> = {}): MemoryStore {
  const files = new Map<string, Uint8Array>();
  const reads: string[] = [];
  const encoder = new TextEncoder();
  const store: MemoryStore = {
    reads,
    put: (path, content) =>
      void files.set(path, typeof content === "string" ? encoder.encode(content) : content),
    remove: (path) => void files.delete(path),
    list(path) {
      const prefix = path === "" ? "" : `${path}/`;
      const entries = new Map<string, { name: string; directory: boolean; bytes: number }>();
      for (const [file, content] of files) {
        if (!file.startsWith(prefix)) continue;
        const [name = "", ...rest] = file.slice(prefix.length).split("/");
        const directory = rest.length > 0;
        entries.set(name, { name, directory, bytes: directory ? 0 : content.byteLength });
      }
      return Promise.resolve(entries.size > 0 || path === "" ? [...entries.values()] : undefined);
    },
    read(path) {
      reads.push(path);
      const content = files.get(path);
      // The reader's own, as from a disk: a load of a model may move its bytes elsewhere.
      return Promise.resolve(content && new Uint8Array(content));
    },
  };
  for (const [path, content] of Object.entries(initial)) store.put(path, content);
  return store;
}
