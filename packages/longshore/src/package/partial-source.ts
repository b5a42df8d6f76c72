import { type Cut, LongshoreError, startCut } from "@longshore/core";
import type { PackageGraph, PackageHead } from "@longshore/core/internal";
import type { Artifact, ModelSource } from "@longshore/engine";
import type { AsNeeded, PackageCache, PackageStore } from "@longshore/nodejs";

/** A model file of a package that was fetched as needed. */
interface PartlyHere {
  readonly graph: PackageGraph;
  readonly asNeeded: AsNeeded;
  /** Digests of the files that it lies in. */
  readonly files: readonly string[];
}

/**
 * Model files of which only the parts that run are fetched. Their inputs, outputs and cuts are read from the package's list. A
 * head to load is fetched by its digest; any other use reads, and so fetches, the whole file. Files of other packages, and a
 * file that is here whole, are read and cut here as ever.
 */
export function partialSource(
  inner: ModelSource,
  store: Pick<PackageStore, "packages">,
  cache: Pick<PackageCache, "seen" | "read">,
): ModelSource {
  function partOf({ digest }: Artifact): PartlyHere | undefined {
    for (const { asNeeded, manifest } of store.packages.values()) {
      const graph = asNeeded?.graphs.find((one) => one.digest === digest);
      if (!graph || !asNeeded) continue;
      const paths = [graph.path, ...graph.beside];
      const files = manifest.files.filter(({ path }) => paths.includes(path)).map((file) => file.digest);
      return { graph, asNeeded, files };
    }
    return undefined;
  }

  const whole = ({ files }: PartlyHere): boolean => files.every((digest) => cache.seen(digest));
  const headOf = ({ graph }: PartlyHere, from: string, to: string): PackageHead | undefined =>
    from === startCut ? graph.heads.find(({ cut }) => cut.id === to) : undefined;

  return {
    async inspect(file, call) {
      const part = partOf(file);
      if (!part) return inner.inspect(file, call);
      const { inputs, outputs, openRanks, weightBytes } = part.graph;
      return { inputs, outputs, ...(openRanks ? { openRanks } : {}), weightBytes };
    },
    async cuts(file, call) {
      const part = partOf(file);
      return part ? part.graph.heads.map(({ cut }): Cut => cut) : inner.cuts(file, call);
    },
    async extract(file, from, to, call) {
      const part = partOf(file);
      const head = part && !whole(part) ? headOf(part, from, to) : undefined;
      if (!part || !head) return inner.extract(file, from, to, call);
      const { digest, bytes } = head;
      return {
        digest,
        byteLength: bytes,
        async bytes() {
          const here = await cache.read(digest);
          if (here) return here;
          await part.asNeeded.head(part.graph, head);
          const fetched = await cache.read(digest);
          if (fetched) return fetched;
          throw new LongshoreError(
            "disk-full",
            "resolve",
            `the head to ${to} was thrown away before it was loaded`,
          );
        },
      };
    },
    lacks(file, from, to) {
      const part = partOf(file);
      if (!part || whole(part)) return 0;
      const head = headOf(part, from, to);
      if (head && cache.seen(head.digest)) return 0;
      return head?.bytes ?? part.graph.bytes;
    },
  };
}
