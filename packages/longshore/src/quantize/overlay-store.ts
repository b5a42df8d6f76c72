import type { ModelStore, StoredEntry } from "@longshore/engine";

/** A store in which some files are other ones, or are there at all. Folders appear with the files in them. */
export function overlayStore(store: ModelStore, files: ReadonlyMap<string, Uint8Array>): ModelStore {
  return {
    async list(path) {
      const below = (await store.list(path)) ?? [];
      const entries = new Map<string, StoredEntry>(below.map((entry) => [entry.name, entry]));
      const prefix = path === "" ? "" : `${path}/`;
      for (const [file, bytes] of files) {
        if (!file.startsWith(prefix)) continue;
        const [name = "", ...rest] = file.slice(prefix.length).split("/");
        const directory = rest.length > 0;
        if (!directory || !entries.has(name)) {
          entries.set(name, { name, directory, bytes: directory ? 0 : bytes.byteLength });
        }
      }
      return entries.size > 0 ? [...entries.values()] : store.list(path);
    },
    async read(path) {
      const own = files.get(path);
      // A copy, since readers own the bytes they get.
      return own ? own.slice() : store.read(path);
    },
  };
}
