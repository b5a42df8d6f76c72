import {
  type Clock,
  housekeepingCall,
  LongshoreError,
  type PackageReference,
  type PackageSource,
  type Random,
  remotePackages,
} from "@longshore/core";
import type { Engine } from "@longshore/engine";
import {
  type FetchedPackage,
  fetchPackage,
  httpTransport,
  operatorRing,
  packageCache,
  packageStore,
  type PackageStore,
} from "@longshore/nodejs";
import type { ServerOptions } from "./dial.ts";
import { transportTls } from "./server-tls.ts";

/** How a server gets models that it is told to serve. */
export interface PullOptions {
  /** `http://host:port` of a server that gives packages away. */
  readonly from: string;
  /** Folder of the cache. */
  readonly into: string;
  /** Default 10 GiB. */
  readonly maxBytes?: number;
  /** Public keys of the operator, a line each: only packages that one of them signed are believed. */
  readonly operatorKeys?: string;
  /** What is fetched and loaded before the server is ready. */
  readonly wanted?: readonly PackageReference[];
  readonly credentials?: ServerOptions["credentials"];
  readonly tls?: ServerOptions["tls"];
  /** Default: the packages of the server at `from`. */
  readonly source?: PackageSource;
}

/** Models that come from elsewhere. */
export interface Pull {
  readonly store: PackageStore;
  /** Models that are being fetched or warmed up: not offered yet. */
  readonly pending: ReadonlySet<string>;
  /** Fetches, loads and warms all of these, and lets go of what a call before wanted and this one does not. Never rejects. */
  want(references: readonly PackageReference[], engine: Engine): Promise<void>;
  close(): Promise<void>;
}

/** What failed is tried again after this time, in milliseconds. */
const againMs = 30_000;
/** The longest that a file may be, in bytes: as long as the whole of a package. */
const maxFileBytes: number = 2 ** 40;

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
  const { from, credentials, tls, maxBytes, operatorKeys } = options;
  const cache = packageCache(options.into, { clock, ...(maxBytes === undefined ? {} : { maxBytes }) });
  const store = packageStore(cache);
  // Nothing is connected before something is asked for.
  const transport = httpTransport({
    address: from,
    clock,
    maxReplyBytes: maxFileBytes,
    ...(credentials ? { credentials } : {}),
    ...(tls ? { tls: transportTls(tls) } : {}),
  });
  const source = options.source ?? remotePackages(transport, from);
  const ring = operatorKeys === undefined ? undefined : operatorRing(operatorKeys);
  const control = new AbortController();
  const call = housekeepingCall("packages", control.signal);
  const held = new Map<string, FetchedPackage>();
  const pending = new Set<string>();
  let again: Disposable | undefined;
  let working: Promise<void> = Promise.resolve();

  async function get(reference: PackageReference, engine: Engine): Promise<void> {
    const name = nameOf(reference);
    if (held.has(name)) return;
    const fetched = await fetchPackage(
      { ...parts, source, cache, ...(ring ? { ring } : {}) },
      reference,
      call,
    );
    const { model } = fetched.manifest;
    pending.add(model);
    store.put(fetched);
    try {
      await engine.load(model, undefined, call);
      held.set(name, fetched);
      report(`package ${fetched.digest}: ${model} is here and loaded`);
    } catch (thrown) {
      store.remove(model);
      fetched[Symbol.dispose]();
      throw thrown;
    } finally {
      pending.delete(model);
    }
    changed();
  }

  async function letGo(name: string, fetched: FetchedPackage, engine: Engine): Promise<void> {
    const { model } = fetched.manifest;
    held.delete(name);
    // Another package of the same model may have taken its place.
    if (store.packages.get(model)?.digest === fetched.digest) {
      changed();
      await engine.unload(model, call);
      store.remove(model);
      report(`package ${fetched.digest}: ${model} is not wanted any more`);
    }
    fetched[Symbol.dispose]();
  }

  async function turn(references: readonly PackageReference[], engine: Engine): Promise<void> {
    again?.[Symbol.dispose]();
    let failed = false;
    const attempt = async (name: string, work: () => Promise<void>): Promise<void> => {
      try {
        if (!control.signal.aborted) await work();
      } catch (thrown) {
        failed = true;
        report(`package ${name}: ${LongshoreError.from(thrown, "resolve", "getting a package").message}`);
      }
    };
    for (const reference of references) await attempt(nameOf(reference), () => get(reference, engine));
    const wanted = new Set(references.map(nameOf));
    for (const [name, fetched] of held) {
      if (!wanted.has(name)) await attempt(name, () => letGo(name, fetched, engine));
    }
    if (failed && !control.signal.aborted) {
      again = clock.timer(againMs, () => void pull.want(references, engine));
    }
  }

  const pull: Pull = {
    store,
    pending,
    want(references, engine) {
      working = working.then(() => turn(references, engine));
      return working;
    },
    async close() {
      again?.[Symbol.dispose]();
      control.abort(new LongshoreError("shutting-down", "resolve", "the server is shutting down"));
      await working;
      await transport.close();
    },
  };
  return pull;
}
