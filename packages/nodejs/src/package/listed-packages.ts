import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Digest, LongshoreError } from "@longshore/core";
import { parseJson, read } from "@longshore/core/internal";
import { replaceFile } from "../file/index.ts";
import { sha256 } from "../store/index.ts";

/** The packages that a directory last named for a server, for a start at which the directory is away. */
export interface ListedPackages {
  /** Empty if the directory named none yet, or if the record cannot be read. Never rejects. */
  load(): Promise<readonly Digest[]>;
  /** Writes down what changed. Never rejects. */
  save(digests: readonly Digest[]): Promise<void>;
}

/** Servers without a name of their own are called otherwise at each start: files of these are not kept for ever. */
const mostServers = 64;

async function prune(folder: string): Promise<void> {
  const names = await readdir(folder);
  if (names.length <= mostServers) return;
  const aged = await Promise.all(
    names.map(async (name) => ({ name, atMs: (await stat(join(folder, name))).mtimeMs })),
  );
  for (const { name } of aged.toSorted((a, b) => b.atMs - a.atMs).slice(mostServers)) {
    await rm(join(folder, name), { force: true });
  }
}

const stateFrom = read.fields({
  schemaVersion: read.readWord(1),
  server: read.readText(128),
  digests: read.list(read.readText(71), 256),
});

/**
 * Keeps it in the folder of a cache, which several servers may share. The file is never trusted: the packages it names are
 * believed by digest and signature as ever.
 *
 * @param report Gets a line if the file cannot be used.
 *
 * @example
 * ```ts
 * import { listedPackages } from "@longshore/nodejs";
 *
 * const told = listedPackages("packages", "till-4", console.warn);
 * console.log((await told.load()).length); // 0
 * ```
 */
export function listedPackages(
  folder: string,
  server: string,
  report: (text: string) => void,
): ListedPackages {
  let latest = "";
  const path = async (): Promise<string> => {
    const digest = await sha256(new TextEncoder().encode(server));
    return join(folder, "told", `${digest.slice("sha256:".length)}.json`);
  };
  const failed = (what: string, thrown: unknown): void => {
    const code =
      thrown instanceof Error && "code" in thrown && !LongshoreError.is(thrown)
        ? String(thrown.code)
        : LongshoreError.from(thrown, "resolve", what).message;
    report(`packages: the list that the directory gave ${server} cannot be ${what} (${code})`);
  };
  return {
    async load() {
      try {
        const state = stateFrom(parseJson(await readFile(await path()), "it"), "it");
        if (state.server !== server)
          throw new LongshoreError("invalid-input", "resolve", "it is of another server");
        latest = JSON.stringify(state.digests);
        return state.digests.filter((digest) => /^sha256:[0-9a-f]{64}$/.test(digest));
      } catch (thrown) {
        if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT")) {
          failed("read; the server waits for the next list of the directory", thrown);
        }
        return [];
      }
    },
    async save(digests) {
      const text = JSON.stringify(digests);
      if (text === latest) return;
      latest = text;
      try {
        const file = await path();
        await mkdir(dirname(file), { recursive: true });
        await replaceFile(file, JSON.stringify({ schemaVersion: 1, server, digests }));
        await prune(dirname(file));
      } catch (thrown) {
        failed("kept for a restart", thrown);
      }
    },
  };
}
