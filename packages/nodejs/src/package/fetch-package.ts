import { type Call, type Clock, type KeyRing, LongshoreError, type Random } from "@longshore/core";
import {
  type BelievedManifest,
  believeManifest,
  checkCall,
  checkPackageEnd,
  type FileBytes,
  headsName,
  type PackageFile,
  type PackageGraph,
  type PackageHead,
  type PackageManifest,
  type PackageReference,
  type PackageSource,
  readHeads,
  sleep,
} from "@longshore/core/internal";
import { isOfDisk } from "../file/index.ts";
import { sha256 } from "../store/index.ts";
import type { PackageCache, WantedFile } from "./cache.ts";
import type { KeptManifests } from "./kept-manifests.ts";
import { withSilenceLimit } from "./silence-limit.ts";

/** The parts that fetch a package. */
export interface FetchPackageParts {
  readonly source: PackageSource;
  readonly cache: PackageCache;
  readonly clock: Clock;
  readonly random: Random;
  /** The operator's keys. Without them only packages whose digest is given are believed. */
  readonly ring?: KeyRing;
  /** The packages that were installed before: no older package is fetched. Default: none are remembered. */
  readonly installed?: KeptManifests;
  /** Tries of each file; a try goes on where the one before broke off. Default 8. */
  readonly tries?: number;
  /** Leaves out model files whose heads the package lists, and what lies beside them. Default false. */
  readonly asNeeded?: boolean;
}

/** The missing parts of a package that was fetched as needed, and how to get them. */
export interface AsNeeded {
  readonly graphs: readonly PackageGraph[];
  /** Gets a file that was left out. It may be evicted again. */
  file(file: PackageFile): Promise<void>;
  /** Gets a head. Throws `unsupported` where the source gives whole files only. */
  head(graph: PackageGraph, head: PackageHead): Promise<void>;
}

/** A package that is here, checked, and whole but for what was left out. Its files stay until it is disposed. */
export interface FetchedPackage extends BelievedManifest, Disposable {
  readonly asNeeded?: AsNeeded;
  /** Gets a file that is not here any more, or not as it was. */
  refetch(file: PackageFile, call: Call): Promise<void>;
}

/** The first pause between tries, in milliseconds. */
const firstPauseMs = 200;
/** The longest pause between tries, in milliseconds. */
const longestPauseMs = 10_000;

/** Gets one file, in several tries. `open` is called for its missing bytes. */
async function fetchFile(
  parts: FetchPackageParts,
  wanted: WantedFile & { readonly path: string },
  open: (fromByte: number) => Promise<FileBytes>,
  call: Call,
): Promise<void> {
  const { cache, clock, random, tries = 8 } = parts;
  let pauseMs = firstPauseMs;
  let wrong = 0;
  for (let tried = 1; ; tried++) {
    try {
      await cache.fill(wanted, open, call);
      return;
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "transport", `fetching ${wanted.path}`);
      if (error.reason === "bad-reply") wrong++;
      // Once it may be what was here before that was wrong; a second time it is the source.
      const lost = !error.retryable || isOfDisk(error) || wrong > 1;
      if (lost || tried >= tries || call.abort.aborted) throw error;
      await sleep(clock, Math.max(pauseMs * (0.5 + random.next()), error.retryAfterMs ?? 0), call.abort);
      checkCall(call, clock, "transport");
      pauseMs = Math.min(longestPauseMs, 2 * pauseMs);
    }
  }
}

/**
 * Fetches a package: the manifest, which must be believed, and each file that is not here yet, checked as it comes. Throws
 * `unknown-model`, `not-permitted` for a manifest that is not believed, `package-expired` from its end on, `package-outdated` and
 * `conflict` for what is older than what was installed, or another package with its serial, `bad-reply` for content that is not what the
 * manifest says, `disk-full` when it does not fit, and what the source throws when all tries failed.
 *
 * @example
 * ```ts
 * import { LongshoreError } from "@longshore/core";
 * import { housekeepingCall, remotePackages } from "@longshore/core/internal";
 * import * as nodejs from "@longshore/nodejs";
 *
 * const clock = nodejs.systemClock();
 * const transport = nodejs.httpTransport({ address: "http://127.0.0.1:8000", clock });
 * const parts = {
 *   source: remotePackages(transport, "edge"),
 *   cache: nodejs.packageCache("packages", { clock }),
 *   clock,
 *   random: nodejs.systemRandom(),
 *   ring: nodejs.operatorRing(nodejs.newOperatorKey().publicLine),
 * };
 * try {
 *   await nodejs.fetchPackage(parts, { model: "double" }, housekeepingCall("fetch"));
 * } catch (error) {
 *   // This server's repository has no signed package of it.
 *   if (LongshoreError.is(error)) console.log(error.reason); // unknown-model
 * }
 * await transport.close();
 * ```
 */
export async function fetchPackage(
  given: FetchPackageParts,
  wanted: PackageReference,
  call: Call,
): Promise<FetchedPackage> {
  const { ring } = given;
  const source = withSilenceLimit(given.source, given.clock);
  const parts = { ...given, source };
  const believed = await believeManifest(await source.manifest(wanted, call), {
    hash: sha256,
    ...(ring ? { ring } : {}),
    ...("digest" in wanted ? { digest: wanted.digest } : {}),
  });
  const { manifest } = believed;
  if ("model" in wanted && manifest.model !== wanted.model) {
    throw new LongshoreError(
      "bad-reply",
      "decode",
      `the package of ${manifest.model} came, and that of another model was requested`,
    );
  }
  await admitted(parts, believed);
  return completed(parts, believed, call);
}

/** Throws `package-expired`, `package-outdated` or `conflict` for a package that may not be installed now. */
async function admitted({ clock, installed }: FetchPackageParts, believed: BelievedManifest): Promise<void> {
  checkPackageEnd(believed.manifest, clock.wallMs());
  await installed?.check(believed);
}

/**
 * The package of a manifest that was kept, if all files that `fetchPackage` would get are in the cache; else undefined. The
 * source gets no request now, and later only for files that were left out or have changed. Throws as `fetchPackage` for a
 * package that may not be installed now.
 *
 * @example
 * ```ts
 * import { housekeepingCall, remotePackages } from "@longshore/core/internal";
 * import * as nodejs from "@longshore/nodejs";
 *
 * const clock = nodejs.systemClock();
 * const transport = nodejs.httpTransport({ address: "http://127.0.0.1:8000", clock });
 * const cache = nodejs.packageCache("packages", { clock });
 * const parts = { source: remotePackages(transport, "edge"), cache, clock, random: nodejs.systemRandom() };
 * const believed = await nodejs.keptManifests("packages", { report: console.warn }).find({ model: "double" });
 * const kept = believed && (await nodejs.keptPackage(parts, believed, housekeepingCall("start")));
 * console.log(kept); // undefined
 * await transport.close();
 * ```
 */
export async function keptPackage(
  given: FetchPackageParts,
  believed: BelievedManifest,
  call: Call,
): Promise<FetchedPackage | undefined> {
  await admitted(given, believed);
  const { cache, asNeeded } = given;
  const { files } = believed.manifest;
  const areHere = async (wanted: readonly PackageFile[]): Promise<boolean> => {
    for (const { digest } of wanted) if (!(await cache.has(digest))) return false;
    return true;
  };
  const listed = files.filter(({ path }) => asNeeded === true && path === headsName);
  if (!(await areHere(listed))) return undefined;
  const graphs = listed.length === 0 ? [] : await graphsOf(believed.manifest, async () => undefined, cache);
  if (!(await areHere(filesNow(believed.manifest, graphs)))) return undefined;
  return completed({ ...given, source: withSilenceLimit(given.source, given.clock) }, believed, call);
}

/** The files that are there when a package is: all but model files of which the heads are listed, and what lies beside them. */
function filesNow({ files }: PackageManifest, graphs: readonly PackageGraph[]): readonly PackageFile[] {
  const later = new Set(graphs.flatMap(({ path, beside }) => [path, ...beside]));
  const now = files.filter(({ path }) => !later.has(path));
  return [...new Map(now.map((file) => [file.digest, file])).values()];
}

/** Gets what is not here yet of a package whose manifest is believed. */
async function completed(
  parts: FetchPackageParts,
  believed: BelievedManifest,
  call: Call,
): Promise<FetchedPackage> {
  const { cache, source } = parts;
  const { manifest, digest } = believed;
  const get = (file: PackageFile): Promise<void> =>
    fetchFile(parts, file, (fromByte) => source.file(digest, file.digest, fromByte, call), call);
  const graphs = parts.asNeeded === true ? await graphsOf(manifest, get, cache) : [];
  const files = filesNow(manifest, graphs);
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total > cache.maxBytes) {
    throw new LongshoreError(
      "disk-full",
      "resolve",
      `the package of ${manifest.model} has ${total} bytes, and the cache holds ${cache.maxBytes}`,
    );
  }
  // Before the first file: a later one must not make room by deleting it.
  const pin = cache.pin(files.map((file) => file.digest));
  try {
    for (const file of files) await get(file);
    return {
      ...believed,
      ...(graphs.length > 0 ? { asNeeded: laterOf(parts, believed, graphs, call) } : {}),
      refetch: (file, later) =>
        fetchFile(
          hastily(parts),
          file,
          (fromByte) => source.file(digest, file.digest, fromByte, later),
          later,
        ),
      [Symbol.dispose]: () => pin[Symbol.dispose](),
    };
  } catch (thrown) {
    pin[Symbol.dispose]();
    throw thrown;
  }
}

/** The graphs that the package lists. None where it was signed without its heads. */
async function graphsOf(
  { files }: PackageManifest,
  get: (file: PackageFile) => Promise<void>,
  cache: PackageCache,
): Promise<readonly PackageGraph[]> {
  const listed = files.find(({ path }) => path === headsName);
  if (!listed) return [];
  await get(listed);
  const content = await cache.read(listed.digest);
  const { graphs } = content ? readHeads(content) : { graphs: [] };
  // A graph that is listed and is no file of the package could never be fetched whole.
  return graphs.filter((graph) => files.some(({ path }) => path === graph.path));
}

/** Callers wait for later parts: they learn soon that the source is away. */
const laterTries = 3;

function hastily(parts: FetchPackageParts): FetchPackageParts {
  return { ...parts, tries: Math.min(laterTries, parts.tries ?? laterTries) };
}

function laterOf(
  parts: FetchPackageParts,
  { manifest: { model }, digest: named }: BelievedManifest,
  graphs: readonly PackageGraph[],
  call: Call,
): AsNeeded {
  const { source } = parts;
  const hasty = hastily(parts);
  return {
    graphs,
    file: (file) =>
      fetchFile(hasty, file, (fromByte) => source.file(named, file.digest, fromByte, call), call),
    async head({ version, variant }, { cut: { id: to }, digest, bytes }) {
      const path = `the head of ${model} version ${version} to ${to}`;
      const head = source.head?.bind(source);
      if (!head) {
        throw new LongshoreError(
          "unsupported",
          "resolve",
          `${source.name} gives whole files only, not ${path}`,
        );
      }
      const open = (fromByte: number): Promise<FileBytes> =>
        head({ model, version, variant, to }, fromByte, call);
      await fetchFile(hasty, { path, digest, bytes }, open, call);
    },
  };
}
