import { type Clock, LongshoreError, type Random } from "@longshore/core";
import {
  childCall,
  housekeepingCall,
  type PackageFile,
  type PackageReference,
  type PackageSource,
  remotePackages,
} from "@longshore/core/internal";
import type { Engine, ModelSource } from "@longshore/engine";
import {
  type AsNeeded,
  type FetchedPackage,
  fetchPackage,
  folderPackages,
  httpTransport,
  keptManifests,
  keptPackage,
  type OciOptions,
  ociPackages,
  ociRepository,
  operatorRing,
  packageCache,
  packageStore,
  type PackageStore,
  isOfDisk,
} from "@longshore/nodejs";
import type { ServerOptions } from "../connect/server-options.ts";
import { isNats, optionalNatsPackages, type OpenPackages } from "../connect/nats-directory.ts";
import { transportShown } from "../connect/server-tls.ts";
import { partialSource } from "./partial-source.ts";

/** The engine that a pull has load and unload models. */
export type LoadingEngine = Pick<Engine, "load" | "unload">;

/** How a server gets the models that it is to serve. */
export interface PullOptions {
  /**
   * `http://host:port` of a server that gives packages away, `nats:HOST[:PORT][/BUCKET]` of an object store, `oci:HOST/REPOSITORY[@DIGEST]` of a
   * registry, or `folder:https://host/path` of a folder that a web server serves.
   */
  readonly from: string;
  /** Folder of the cache. */
  readonly into: string;
  /** Default 10 GiB. */
  readonly maxBytes?: number;
  /** Public keys of the operator, a line each: only packages that one of them signed are believed. */
  readonly operatorKeys?: string;
  /** The packages that are fetched and loaded before the server is ready. */
  readonly wanted?: readonly PackageReference[];
  readonly credentials?: ServerOptions["credentials"];
  readonly tls?: ServerOptions["tls"];
  /** Default: the packages of the server at `from`. */
  readonly source?: PackageSource;
  /**
   * Fetches only the parts of model files that run here: of packages that list their heads, the one head that a plan needs, and
   * the whole if only that will do. Packages that are wanted by the name of their model are checked again now and then. Default
   * false: packages are fetched whole, loaded and warmed before they are offered.
   */
  readonly asNeeded?: boolean;
  /**
   * Checks the source before copies of earlier starts are used: for a process that ends soon, and would never use what it
   * fetched after its start. Default false.
   */
  readonly sourceFirst?: boolean;
  /** How soon a failure is retried and a possible change is checked, in milliseconds. Default half a minute. */
  readonly againMs?: number;
}

/** Models that come from elsewhere. */
export interface Pull {
  readonly store: PackageStore;
  /** The reader of the store's model files, which may be here in part only; it also cuts them. */
  readonly source: ((whole: ModelSource) => ModelSource) | undefined;
  /** Models that are being fetched or warmed up: not offered yet. */
  readonly pending: ReadonlySet<string>;
  /**
   * Loads and warms those of these that were installed before and are here whole, without the source; soon after it checks
   * whether there is a newer package of a model. For a start at which the source may be away. Never rejects.
   */
  restore(references: readonly PackageReference[], engine: LoadingEngine): Promise<void>;
  /**
   * Fetches, loads and warms all of these. Once they are here, it drops those that only an earlier call wanted. The packages of
   * `restored` that were restored stay, too. Never rejects.
   */
  want(
    references: readonly PackageReference[],
    engine: LoadingEngine,
    restored?: readonly PackageReference[],
  ): Promise<void>;
  /** Resolves once each of these was fetched, loaded and warm. Wanted packages are retried until they are. Never rejects. */
  have(references: readonly PackageReference[]): Promise<void>;
  /** Checks the wanted packages again, unless it did so just now. Never rejects. */
  look(): Promise<void>;
  close(): Promise<void>;
}

/** After a check on request none is made for this long, in milliseconds: other endpoints may be ahead of their packages. */
const lookPauseMs = 1000;

/** The longest that a file may be, in bytes: as long as the whole of a package. */
const maxFileBytes: number = 2 ** 40;

/** How the registry of `oci:HOST/REPOSITORY` is reached. The credential is a token, or `USER:PASSWORD`. */
export function ociAt(
  from: string,
  { credentials, tls }: Pick<PullOptions, "credentials" | "tls">,
  clock: Clock,
): OciOptions {
  const at = ociRepository(from);
  const bearer = credentials?.bearer;
  if (typeof bearer === "function") {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      "a registry is shown a credential that is a text",
    );
  }
  return {
    ...at,
    ...(bearer === undefined ? {} : { credential: bearer }),
    open: (address) =>
      httpTransport({
        address,
        clock,
        maxReplyBytes: maxFileBytes,
        // Authorities and certificates are for the registry alone.
        ...(address === at.address ? transportShown({ tls }) : {}),
      }),
  };
}

/** Packages of a server, in NATS, in an OCI registry or in a folder that a web server serves. Connects at the first request. */
export function packagesAt(
  from: string,
  { credentials, tls }: Pick<PullOptions, "credentials" | "tls">,
  clock: Clock,
): OpenPackages {
  const shown = { ...(credentials ? { credentials } : {}), ...(tls ? { tls } : {}) };
  if (isNats(from)) return optionalNatsPackages(from, shown);
  if (from.startsWith("oci:")) return ociPackages(ociAt(from, { credentials, tls }, clock));
  const [, folder] = /^folder:(.*)$/.exec(from) ?? [];
  const transport = httpTransport({
    address: folder ?? from,
    clock,
    maxReplyBytes: maxFileBytes,
    ...transportShown({ credentials, tls }),
  });
  const source = folder === undefined ? remotePackages(transport, from) : folderPackages(transport, folder);
  return { ...source, close: () => transport.close() };
}

/** The caller that brings a source closes it. */
function sourceOf(
  options: PullOptions,
  clock: Clock,
): { readonly source: PackageSource; close(): Promise<void> } {
  if (options.source) return { source: options.source, close: () => Promise.resolve() };
  const source = packagesAt(options.from, options, clock);
  return { source, close: () => source.close() };
}

/** A package wanted by name is checked again this long before it expires, in milliseconds. */
const renewBeforeMs = 3_600_000;
/** A day, in milliseconds. */
const dayMs = 86_400_000;

const endOf = ({ manifest }: FetchedPackage): number => manifest.notAfterMs ?? Infinity;

function nameOf(reference: PackageReference): string {
  return "model" in reference ? reference.model : reference.digest;
}

/** Opens the cache. `changed` is called when a model can be used, or cannot any more. */
export function openPull(
  options: PullOptions,
  parts: {
    readonly clock: Clock;
    readonly random: Random;
    readonly report: (text: string) => void;
    readonly changed: () => void;
  },
): Pull {
  const { clock, report, changed } = parts;
  const { maxBytes, operatorKeys, asNeeded = false, sourceFirst = false, againMs = 30_000 } = options;
  const cache = packageCache(options.into, { clock, ...(maxBytes === undefined ? {} : { maxBytes }) });
  const store = packageStore(cache);
  const { source, close } = sourceOf(options, clock);
  const ring = operatorKeys === undefined ? undefined : operatorRing(operatorKeys);
  const control = new AbortController();
  const call = housekeepingCall("packages", control.signal);
  const manifests = keptManifests(options.into, { report, ...(ring ? { ring } : {}) });
  const held = new Map<string, FetchedPackage>();
  /** Held packages by the names of their models, as they were kept: the source was not yet checked for a newer one. */
  const unconfirmed = new Map<string, { told: string }>();
  /** Reports about kept copies that cannot be loaded. */
  const unusable = new Set<string>();
  const pending = new Set<string>();
  const waiting = new Set<() => void>();
  let latest: readonly PackageReference[] = [];
  let fetching: { readonly name: string; cancel(reason: LongshoreError): void } | undefined;
  const fetchParts = { ...parts, source, cache, asNeeded, installed: manifests, ...(ring ? { ring } : {}) };
  let loading = false;
  let timer: Disposable | undefined;
  let again = async (): Promise<void> => undefined;
  let working: Promise<void> = Promise.resolve();
  let looking: Promise<void> | undefined;
  let lookFromMs = -Infinity;

  async function get(reference: PackageReference, engine: LoadingEngine): Promise<void> {
    const name = nameOf(reference);
    const before = held.get(name);
    if (before && !unconfirmed.has(name) && !(asNeeded && "model" in reference)) return;
    using child = childCall(call);
    fetching = { name, cancel: child.cancel };
    // Later parts of a package are fetched under the call of all.
    const fetched = await fetchPackage(fetchParts, reference, asNeeded ? call : child.call).finally(
      () => (fetching = undefined),
    );
    if (fetched.digest === before?.digest) fetched[Symbol.dispose]();
    else await install(name, fetched, engine);
    unconfirmed.delete(name);
    await manifests.keep(fetched);
  }

  /** Has the engine load a package that is here, instead of the one that the name led to before. */
  async function install(
    name: string,
    fetched: FetchedPackage,
    engine: LoadingEngine,
    origin: "" | ", from the copy that was kept" = "",
  ): Promise<void> {
    const before = held.get(name);
    const { model } = fetched.manifest;
    const replaced = store.packages.get(model);
    // The old one serves until the new one has replaced it, and is offered as long.
    if (!replaced) pending.add(model);
    loading = true;
    try {
      await lookFor(fetched);
      put(fetched);
      await engine.load(model, undefined, call);
      held.set(name, fetched);
      for (const look of waiting) look();
      before?.[Symbol.dispose]();
      report(`package ${fetched.digest}: ${model} is here${fetched.asNeeded ? "" : " and loaded"}${origin}`);
    } catch (thrown) {
      if (replaced) store.put(replaced);
      else store.remove(model);
      fetched[Symbol.dispose]();
      throw thrown;
    } finally {
      loading = false;
      pending.delete(model);
    }
    changed();
  }

  /** Loads a package that was installed before, if all of it is here. */
  async function restoreOne(reference: PackageReference, engine: LoadingEngine): Promise<void> {
    const name = nameOf(reference);
    if (held.has(name)) return;
    const believed = await manifests.find(reference);
    const kept = believed && (await keptPackage(fetchParts, believed, call));
    if (!kept) return;
    await install(name, kept, engine, ", from the copy that was kept");
    if ("model" in reference) unconfirmed.set(name, { told: "" });
  }

  function put(fetched: FetchedPackage): void {
    const { asNeeded: later, ...one } = fetched;
    const again = (file: PackageFile): Promise<void> => fetched.refetch(file, call);
    store.put({ ...one, again, ...(later ? { asNeeded: current(fetched, later) } : {}) });
  }

  /** Later parts are those of the current package: one that was signed again has replaced it. */
  function current({ manifest: { model }, digest }: FetchedPackage, later: AsNeeded): AsNeeded {
    const check = async (): Promise<void> => {
      // While a load is under way it may be the load that waits for this, and the next check would wait for it.
      if (!loading) await again();
      if (store.packages.get(model)?.digest === digest) return;
      throw new LongshoreError(
        "unknown-version",
        "resolve",
        `the package of ${model} was signed again: repeat the request`,
      );
    };
    return {
      graphs: later.graphs,
      file: (file) => check().then(() => later.file(file)),
      head: (graph, head) => check().then(() => later.head(graph, head)),
    };
  }

  /** Parts of the package that an earlier process fetched need not be fetched. */
  async function lookFor({ asNeeded: later, manifest }: FetchedPackage): Promise<void> {
    if (!later) return;
    const heads = later.graphs.flatMap((graph) => graph.heads);
    for (const { digest } of [...manifest.files, ...heads]) await cache.has(digest);
  }

  async function letGo(
    name: string,
    fetched: FetchedPackage,
    engine: LoadingEngine,
    because = "is not wanted any more",
  ): Promise<void> {
    const { model } = fetched.manifest;
    held.delete(name);
    unconfirmed.delete(name);
    // Another package of the same model may have replaced it.
    if (store.packages.get(model)?.digest === fetched.digest) {
      changed();
      await engine.unload(model, call);
      store.remove(model);
      report(`package ${fetched.digest}: ${model} ${because}`);
    }
    fetched[Symbol.dispose]();
  }

  /** The same for all of these. Those that cannot be loaded are fetched from the source. */
  async function restore(references: readonly PackageReference[], engine: LoadingEngine): Promise<void> {
    for (const reference of references) {
      try {
        if (!control.signal.aborted) await restoreOne(reference, engine);
      } catch (thrown) {
        if (control.signal.aborted) return;
        const { message } = LongshoreError.from(thrown, "resolve", "loading a package");
        const line = `package ${nameOf(reference)}: the kept copy cannot be loaded (${message}); it is fetched from the source`;
        if (!unusable.has(line)) report(line);
        unusable.add(line);
      }
    }
  }

  async function turn(
    references: readonly PackageReference[],
    engine: LoadingEngine,
    stay: ReadonlySet<string>,
    behind: boolean,
  ): Promise<void> {
    timer?.[Symbol.dispose]();
    let failed = false;
    let isLate = false;
    let roomy = true;
    const soon = `tried again in ${Math.ceil(againMs / 1000)} s`;
    const attempt = async (name: string, work: () => Promise<void>): Promise<void> => {
      try {
        if (!control.signal.aborted) await work();
      } catch (thrown) {
        if (control.signal.aborted || references !== latest) return;
        const { message, reason } = LongshoreError.from(thrown, "resolve", "getting a package");
        const kept = unconfirmed.get(name);
        if (kept) {
          isLate = true;
          if (kept.told !== message) {
            report(
              `package ${name}: the kept copy stays in use; checking the source for a newer one failed: ${message}`,
            );
          }
          kept.told = message;
          return;
        }
        failed = true;
        roomy &&= !isOfDisk({ reason });
        report(`package ${name}: ${message}; ${soon}`);
      }
    };
    // Packages that are here wait for no source.
    if (!sourceFirst) await restore(references, engine);
    const wallMs = clock.wallMs();
    for (const reference of references) {
      // One that ends soon is to be replaced by one that was signed again.
      const before = held.get(nameOf(reference));
      if (before && "model" in reference && endOf(before) - wallMs <= renewBeforeMs) {
        unconfirmed.set(nameOf(reference), unconfirmed.get(nameOf(reference)) ?? { told: "" });
      }
      if (!behind && unconfirmed.has(nameOf(reference))) continue;
      // If other packages are wanted by now, the next turn is for those.
      if (references === latest) await attempt(nameOf(reference), () => get(reference, engine));
    }
    if (references !== latest) return;
    if (sourceFirst) await restore(references, engine);
    const wanted = new Set([...references.map(nameOf), ...stay]);
    // The failed package may be the successor of one of these, unless these take the room that it needs.
    const stays = failed && roomy;
    for (const [name, fetched] of held) {
      if (!wanted.has(name) && !stays) await attempt(name, () => letGo(name, fetched, engine));
    }
    for (const [name, fetched] of held) {
      const { notAfterMs = Infinity } = fetched.manifest;
      if (notAfterMs > clock.wallMs()) continue;
      const since = `is unloaded: its package could be used until ${new Date(notAfterMs).toISOString()}; sign it again`;
      await attempt(name, () => letGo(name, fetched, engine, since));
      isLate = true;
    }
    if (control.signal.aborted) return;
    if (!behind && unconfirmed.size > 0) timer = clock.timer(0, () => void again());
    else {
      const pauseMs = Math.min(failed || isLate || asNeeded ? againMs : Infinity, untilNextEnd());
      if (pauseMs < Infinity) timer = clock.timer(pauseMs, () => void again());
    }
  }

  /** How long nothing that is held ends, or is to be replaced since it ends soon, in milliseconds. */
  function untilNextEnd(): number {
    const wallMs = clock.wallMs();
    let nextMs = Infinity;
    for (const fetched of held.values()) {
      const leftMs = endOf(fetched) - wallMs;
      // The wall clock may jump, and longer timers are none.
      if (leftMs < Infinity)
        nextMs = Math.min(
          nextMs,
          leftMs > renewBeforeMs ? leftMs - renewBeforeMs : Math.min(leftMs, againMs),
          dayMs,
        );
    }
    return nextMs;
  }

  const pull: Pull = {
    store,
    source: asNeeded ? (whole) => partialSource(whole, store, cache) : undefined,
    pending,
    restore: (references, engine) => (working = working.then(() => restore(references, engine))),
    want(references, engine, restored = []) {
      latest = references;
      const under = fetching?.name;
      if (under !== undefined) {
        const isWanted = references.some((one) => nameOf(one) === under);
        // A newer package of what is here can wait for what is not.
        const canWait = unconfirmed.has(under) && references.some((one) => !held.has(nameOf(one)));
        if (!isWanted || canWait)
          fetching?.cancel(new LongshoreError("cancelled", "resolve", "others are wanted first"));
      }
      const stay = new Set(restored.map(nameOf));
      const next = (behind: boolean): Promise<void> =>
        (working = working.then(() => turn(references, engine, stay, behind)));
      again = () => next(true);
      return next(false);
    },
    have: (references) =>
      new Promise((resolve) => {
        const names = references.map(nameOf);
        const look = (): void => {
          if (!names.every((name) => held.has(name))) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
    look() {
      if (!looking && clock.nowMs() < lookFromMs) return Promise.resolve();
      looking ??= again().then(() => {
        looking = undefined;
        lookFromMs = clock.nowMs() + lookPauseMs;
      });
      return looking;
    },
    async close() {
      timer?.[Symbol.dispose]();
      control.abort(new LongshoreError("shutting-down", "resolve", "the server is shutting down"));
      await working;
      for (const fetched of held.values()) fetched[Symbol.dispose]();
      await close();
    },
  };
  return pull;
}
