import { LongshoreError } from "@longshore/core";
import { type BelievedManifest, manifestName, type PackageFile } from "@longshore/core/internal";
import type { ModelStore, StoredEntry } from "@longshore/engine";
import type { PackageCache } from "./cache.ts";
import type { FetchedPackage } from "./fetch-package.ts";

/** Models that were fetched, as a repository. Paths name files of manifests; no path of a manifest ever reaches the disk. */
export interface PackageStore extends ModelStore {
  /** Replaces the package of the same model. */
  put(one: Stored): void;
  remove(model: string): void;
  /** The packages that are there, by model. */
  readonly packages: ReadonlyMap<string, Stored>;
}

/** A package whose files are here, but for those that are got when they are read. */
export type Stored = BelievedManifest &
  Pick<FetchedPackage, "asNeeded"> & {
    /** Gets a file that is not here any more, or not as it was. Default: it is gone. */
    readonly again?: (file: PackageFile) => Promise<void>;
  };

/**
 * The content of a file before it is read. Model files may be stored in another form than they are read in; for those only the
 * list counts.
 */
function contentOf(
  { path, bytes, digest }: PackageFile,
  { asNeeded }: Stored,
): Pick<StoredEntry, "bytes" | "digest"> {
  const graph = asNeeded?.graphs.find((one) => one.path === path);
  if (graph) return { bytes: graph.bytes, digest: graph.digest };
  return asNeeded && !path.endsWith(".onnx") ? { bytes, digest } : { bytes };
}

/** A time that changes with the content: files of the cache have none of their own. */
function markOf(digest: string): number {
  return Number.parseInt(digest.slice("sha256:".length, "sha256:".length + 12), 16);
}

/**
 * Starts without models.
 *
 * @example
 * ```ts
 * import { packageCache, packageStore, systemClock } from "@longshore/nodejs";
 *
 * const store = packageStore(await packageCache("packages", { clock: systemClock() }));
 * console.log((await store.list(""))?.length ?? 0); // 0
 * ```
 */
export function packageStore(cache: PackageCache): PackageStore {
  const packages = new Map<string, Stored>();
  const fileAt = (path: string): PackageFile | undefined => {
    const at = path.indexOf("/");
    const inner = path.slice(at + 1);
    return packages.get(path.slice(0, at))?.manifest.files.find((file) => file.path === inner);
  };
  const signedAt = (path: string): Uint8Array | undefined => {
    const [model = "", name, ...more] = path.split("/");
    const one = name === manifestName && more.length === 0 ? packages.get(model) : undefined;
    return one && new TextEncoder().encode(JSON.stringify(one.signed));
  };
  return {
    packages,
    put: (one) => void packages.set(one.manifest.model, one),
    remove: (model) => void packages.delete(model),
    async list(path) {
      if (path === "") return Array.from(packages.keys(), (name) => ({ name, directory: true, bytes: 0 }));
      const [model = "", ...rest] = path.split("/");
      const one = packages.get(model);
      if (!one) return undefined;
      const prefix = rest.map((name) => `${name}/`).join("");
      const entries = new Map<string, StoredEntry>();
      for (const file of one.manifest.files) {
        if (!file.path.startsWith(prefix)) continue;
        const [name = "", ...deeper] = file.path.slice(prefix.length).split("/");
        const content =
          deeper.length > 0 ? { bytes: 0 } : { ...contentOf(file, one), modifiedMs: markOf(file.digest) };
        entries.set(name, { name, directory: deeper.length > 0, ...content });
      }
      return entries.size > 0 || prefix === "" ? [...entries.values()] : undefined;
    },
    async read(path) {
      const signed = signedAt(path);
      if (signed) return signed;
      const file = fileAt(path);
      if (!file) return undefined;
      const bytes = await cache.read(file.digest);
      if (bytes) return bytes;
      const { asNeeded, again } = packages.get(path.slice(0, path.indexOf("/"))) ?? {};
      await (asNeeded ? asNeeded.file(file) : again?.(file));
      const fetched = await cache.read(file.digest);
      if (fetched) return fetched;
      throw new LongshoreError(
        "invalid-model",
        "resolve",
        `${path} was fetched and is not in the cache any more, or not as it was`,
      );
    },
    async open(path, fromByte) {
      const signed = signedAt(path);
      if (signed) return { bytes: signed.byteLength, read: () => once(signed.subarray(fromByte)) };
      const file = fileAt(path);
      return file && cache.open(file.digest, fromByte);
    },
  };
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/**
 * Both stores as one; a model that is in the first is not looked for in the second.
 *
 * @example
 * ```ts
 * import { folderStore, layeredStore } from "@longshore/nodejs";
 *
 * // A model in `models` hides one of the same name behind it.
 * const store = layeredStore(folderStore("models"), folderStore("."));
 * console.log((await store.read("double/model.yaml")) !== undefined); // true
 * ```
 */
export function layeredStore(first: ModelStore, second: ModelStore): ModelStore {
  const holder = async (path: string): Promise<ModelStore> => {
    const [model = ""] = path.split("/");
    // A folder without anything in it is no model.
    return ((await first.list(model))?.length ?? 0) === 0 ? second : first;
  };
  const opened = async (store: ModelStore, path: string, fromByte: number) => {
    if (store.open) return store.open(path, fromByte);
    const bytes = await store.read(path);
    return bytes && { bytes: bytes.byteLength, read: () => once(bytes.subarray(fromByte)) };
  };
  return {
    async list(path) {
      if (path !== "") return (await holder(path)).list(path);
      const both = [...((await first.list("")) ?? []), ...((await second.list("")) ?? [])];
      return [...new Map(both.toReversed().map((entry) => [entry.name, entry])).values()].toReversed();
    },
    read: async (path) => (await holder(path)).read(path),
    open: async (path, fromByte) => opened(await holder(path), path, fromByte),
  };
}
