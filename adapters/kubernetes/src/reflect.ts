import { type Clock, LongshoreError, type Random } from "@longshore/core";
import { sleep } from "@longshore/core/internal";
import { apiFailure, type ListQuery, Expired, type KubernetesApi, type KubernetesObject } from "./api.ts";

/*
 * A copy of a collection of the API: a list, then a watch from the resource version of that list. Every interruption is answered by the
 * least that is correct. A watch that ends continues from the last resource version seen. A version that the server has forgotten (410, as
 * a status or as an ERROR event), and any other ERROR event, lead to a new list. A failed request, or a watch that is forgotten within a
 * second, is repeated after a pause that doubles.
 * A watch without a word for two and a half minutes is cut, because a server sends a bookmark every minute, and a half-open connection
 * would otherwise hide every change.
 */

/** Receives the copy. Keys are `namespace/name`. */
export interface ReflectSink<T> {
  all(objects: ReadonlyMap<string, T>): void;
  put(key: string, object: T): void;
  drop(key: string): void;
  /** The copy is current. */
  confirmed(): void;
  /** The copy cannot be brought up to date now. */
  failed(error: LongshoreError): void;
}

/** The resource to copy, and how to copy it. */
export interface ReflectOptions<T> extends ListQuery {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  readonly random: Random;
  /** The part of an object that is kept; undefined to ignore the object. */
  readonly project: (object: KubernetesObject) => T | undefined;
  readonly sink: ReflectSink<T>;
  /** Objects in one page of a list. Default 500. */
  readonly pageSize?: number;
}

const firstPauseMs = 250;
const longestPauseMs = 30_000;
/** The server ends a watch after this time, in seconds; half of it is random. */
const watchSeconds = 300;
/** A reply to a list without any byte for this long failed, in milliseconds. */
const silentListMs = 30_000;
const silentWatchMs = 150_000;
/** Objects that a copy may hold. */
const mostObjects = 100_000;
/** Lists that may expire between two pages before one is read without pages. */
const mostExpired = 3;

function keyOf({ metadata = {} }: KubernetesObject): string {
  return `${metadata.namespace ?? ""}/${metadata.name ?? ""}`;
}

/** Runs one request. It is cut if nothing arrives for a while. */
async function unlessSilent<T>(
  clock: Clock,
  silentMs: number,
  signal: AbortSignal,
  path: string,
  request: (signal: AbortSignal, heard: () => void) => Promise<T>,
): Promise<T> {
  const control = new AbortController();
  const abort = (): void => control.abort();
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  let silent = false;
  let heardMs = clock.nowMs();
  let timer: Disposable | undefined;
  const wait = (ms: number): void => {
    timer = clock.timer(ms, () => {
      const leftMs = heardMs + silentMs - clock.nowMs();
      if (leftMs > 0) return wait(leftMs);
      silent = true;
      control.abort();
    });
  };
  wait(silentMs);
  try {
    return await request(control.signal, () => (heardMs = clock.nowMs()));
  } catch (thrown) {
    if (!silent) throw thrown;
    const text = `the Kubernetes API sent nothing for ${path} in ${silentMs / 1000} s`;
    throw new LongshoreError("no-answer", "transport", text, { cause: thrown });
  } finally {
    timer?.[Symbol.dispose]();
    signal.removeEventListener("abort", abort);
  }
}

/** Keeps a copy of a collection until it is disposed of. */
export function reflect<T>(options: ReflectOptions<T>): AsyncDisposable {
  const { api, clock, random, project, sink, path, query, metadataOnly = false, pageSize = 500 } = options;
  const control = new AbortController();
  const { signal } = control;
  const jitter = (): number => 0.5 + 0.5 * random.next();
  let version: string | undefined;
  let expired = 0;

  async function list(): Promise<void> {
    const found = new Map<string, T>();
    let next: string | undefined;
    do {
      const paged = expired < mostExpired ? { limit: String(pageSize) } : {};
      const asked = {
        path,
        metadataOnly,
        query: { ...query, ...paged, ...(next === undefined ? {} : { continue: next }) },
      };
      const page = await unlessSilent(clock, silentListMs, signal, path, (cut, heard) =>
        api.list(asked, cut, heard),
      );
      for (const object of page.items) {
        const part = project(object);
        if (part !== undefined) found.set(keyOf(object), part);
      }
      if (found.size > mostObjects) {
        const text = `${path} has more than ${mostObjects} objects; select fewer by labels`;
        throw new LongshoreError("memory-limit", "resolve", text);
      }
      next = page.next;
      version = page.resourceVersion;
    } while (next !== undefined);
    expired = 0;
    if (!signal.aborted) sink.all(found);
  }

  async function watch(from: string): Promise<void> {
    const seconds = Math.ceil(watchSeconds * jitter());
    const asked = {
      path,
      metadataOnly,
      query: {
        ...query,
        watch: "1",
        allowWatchBookmarks: "true",
        resourceVersion: from,
        timeoutSeconds: String(seconds),
      },
    };
    await unlessSilent(clock, silentWatchMs, signal, path, (cut, heard) =>
      api.watch(asked, cut, heard, ({ type, object }) => {
        if (signal.aborted) return;
        if (type === "ERROR") {
          // A copy that may have missed something is made again.
          version = undefined;
          throw apiFailure(path, object.code ?? 500, object.message ?? "the watch failed");
        }
        version = object.metadata?.resourceVersion ?? version;
        if (type === "BOOKMARK") return sink.confirmed();
        const part = type === "DELETED" ? undefined : project(object);
        if (part === undefined) sink.drop(keyOf(object));
        else sink.put(keyOf(object), part);
      }),
    );
    if (!signal.aborted) sink.confirmed();
  }

  async function run(): Promise<void> {
    let pauseMs = firstPauseMs;
    while (!signal.aborted) {
      const startedMs = clock.nowMs();
      const from = version;
      try {
        if (from === undefined) await list();
        else {
          await watch(from);
          // A server that ends every watch at once gets a few requests a second at most.
          if (clock.nowMs() - startedMs >= 1000) pauseMs = firstPauseMs;
          else await sleep(clock, firstPauseMs * jitter(), signal);
        }
        continue;
      } catch (thrown) {
        if (signal.aborted) return;
        if (thrown instanceof Expired) {
          version = undefined;
          // A server that forgets every watch at once must not be asked for a new list without a pause.
          const lasted = clock.nowMs() - startedMs >= 1000;
          if (from === undefined ? ++expired <= mostExpired : lasted) continue;
        } else {
          const error = LongshoreError.from(thrown, "resolve", `watching ${path}`);
          // Rights may have changed, and a reply that cannot be read says nothing about what was missed.
          if (error.reason !== "unreachable" && error.reason !== "no-answer") version = undefined;
          sink.failed(error);
        }
      }
      if (clock.nowMs() - startedMs > longestPauseMs) pauseMs = firstPauseMs;
      await sleep(clock, pauseMs * jitter(), signal).catch(() => undefined);
      pauseMs = Math.min(longestPauseMs, 2 * pauseMs);
    }
  }

  const running = run();
  return {
    async [Symbol.asyncDispose]() {
      control.abort();
      await running;
    },
  };
}
