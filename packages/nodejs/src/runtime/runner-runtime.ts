import { type Call, type Clock, LongshoreError } from "@longshore/core";
import { abortError, housekeepingCall, UnderWay, whenAborted } from "@longshore/core/internal";
import type { Artifact, LoadOptions, Runtime } from "@longshore/engine";
import { failure, type LoadedRunner, RunnerClient } from "./runner-client.ts";
import type { OpenLink } from "./runner-link.ts";
import type { Backend } from "./runner-message.ts";
import { type ProviderSession, RunnerSession, type RunLimit } from "./runner-session.ts";
import { shortRunsHere } from "./short-runs.ts";

/** A runtime whose sessions report their execution provider. */
export interface ProviderRuntime extends Runtime {
  load(artifact: Artifact, options: LoadOptions, call: Call): Promise<ProviderSession>;
}

/** The differences between the three runtimes of this package. */
export interface RunnerRuntimeParts {
  readonly name: string;
  readonly backend: Backend;
  readonly providers: readonly string[];
  /** Whether a load may name other providers than these. */
  readonly chooses?: true;
  readonly open: OpenLink;
  /** Ends the runners that `open` keeps for later. */
  readonly closeIdle?: () => Promise<void>;
  readonly maxOutputBytes: number;
  /** Whether a session whose runner died starts another for the next run. */
  readonly restarts: boolean;
  /** Opens a runner on the calling thread, for runs that are shorter than the way to another thread. */
  readonly here?: { readonly open: OpenLink; readonly clock: Clock };
  /** Limits, if a runner can be ended at any moment. */
  readonly limit?: RunLimit & { readonly loadDeadlineMs: number };
}

const threadLimit = 256;

function checkThreads(threads: number): number {
  if (!Number.isSafeInteger(threads) || threads < 1 || threads > threadLimit) {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `threads is ${threads}; it must be a whole number from 1 to ${threadLimit}`,
    );
  }
  return threads;
}

/**
 * The file's bytes in movable memory without other users. The input belongs to the caller, but `slice` of a Buffer is a view of the same
 * memory, so a Buffer is copied.
 */
function exact(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes;
  const own =
    !Buffer.isBuffer(bytes) && buffer instanceof ArrayBuffer && bytes.byteLength === buffer.byteLength;
  return own ? new Uint8Array(buffer) : new Uint8Array(bytes);
}

/** Load options with all fields set. */
type HowToLoad = Required<LoadOptions>;

/**
 * Starts a runner and loads the file into it. Cleans up after a failure. The file is read only after the start: starting a process blocks
 * the calling thread longer, the more memory this one holds.
 */
async function startRunner(
  parts: RunnerRuntimeParts,
  artifact: Artifact,
  { threads, fusions, providers }: HowToLoad,
  call: Call,
): Promise<LoadedRunner> {
  const client = new RunnerClient(parts.open);
  const { limit } = parts;
  const aborted = (): void => {
    client.kill(abortError(call.abort, "execute"));
  };
  const stopListening = whenAborted(call.abort, aborted);
  let timer: Disposable | undefined;
  try {
    const bytes = exact(await artifact.bytes(call));
    if (call.abort.aborted) throw abortError(call.abort, "execute");
    if (limit && Number.isFinite(limit.loadDeadlineMs)) {
      timer = limit.clock.timer(limit.loadDeadlineMs, () => {
        client.kill(
          new LongshoreError(
            "run-deadline",
            "execute",
            `loading the model took longer than the limit of ${limit.loadDeadlineMs} ms and was ended`,
          ),
        );
      });
    }
    const message = await client.exchange(
      {
        kind: "load",
        backend: parts.backend,
        bytes,
        providers,
        threads,
        fusions,
        maxOutputBytes: parts.maxOutputBytes,
        ...(client.shared ? { shared: client.shared } : {}),
      },
      client.moves ? [bytes.buffer] : [],
    );
    if (message.kind !== "loaded") throw failure(message, "the model could not be loaded");
    return { client, loaded: message };
  } catch (thrown) {
    await client.close();
    throw thrown;
  } finally {
    timer?.[Symbol.dispose]();
    stopListening();
  }
}

/** Rejects as soon as the call is aborted. A later result goes to `late`. */
function orAborted<T>(work: Promise<T>, call: Call, late: (value: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(abortError(call.abort, "execute"));
    const stopListening = whenAborted(call.abort, aborted);
    work.then(
      (value) => {
        if (call.abort.aborted) late(value);
        stopListening();
        resolve(value);
      },
      (thrown: unknown) => {
        stopListening();
        reject(LongshoreError.from(thrown, "execute", "loading the model"));
      },
    );
  });
}

/** The session, with a twin on the calling thread for short runs if the runtime supports it. */
function withShortRuns(
  worker: ProviderSession,
  parts: RunnerRuntimeParts,
  artifact: Artifact,
  how: HowToLoad,
): ProviderSession {
  const { here } = parts;
  // Other providers hold their own memory, and wait for a device.
  if (!here || how.threads !== 1 || worker.provider !== "cpu" || artifact.byteLength > mostBytesHere)
    return worker;
  return shortRunsHere(worker, {
    clock: here.clock,
    async openHere() {
      const twin = { ...parts, open: here.open };
      const same = { ...how, providers: [worker.provider] };
      const first = await startRunner(twin, artifact, same, housekeepingCall("twin"));
      return new RunnerSession({
        backend: parts.backend,
        first,
        restart: undefined,
        limit: undefined,
        released: () => undefined,
      });
    },
  });
}

/** Larger files take too long to load on the calling thread, and their runs are not short. */
const mostBytesHere = 4 * 1024 * 1024;

/** Makes a runtime from the way its runners are started. */
export function runnerRuntime(parts: RunnerRuntimeParts): ProviderRuntime {
  const sessions = new Set<ProviderSession>();
  const loading = new UnderWay();
  let closed: Promise<void> | undefined;

  const open = async (artifact: Artifact, how: HowToLoad, call: Call): Promise<ProviderSession> => {
    const start = (call: Call): Promise<LoadedRunner> => startRunner(parts, artifact, how, call);
    const worker = new RunnerSession({
      backend: parts.backend,
      first: await start(call),
      restart: parts.restarts ? start : undefined,
      limit: parts.limit,
      released: () => sessions.delete(session),
    });
    const session = withShortRuns(worker, parts, artifact, how);
    sessions.add(session);
    return session;
  };

  return {
    name: parts.name,
    ...(parts.chooses ? { providers: parts.providers } : {}),
    async load(artifact, options, call) {
      if (closed) throw new LongshoreError("shutting-down", "execute", `runtime ${parts.name} is closed`);
      if (call.abort.aborted) throw abortError(call.abort, "execute");
      const { threads = 1, fusions = true, providers = parts.providers } = options;
      const work = loading.track(
        open(artifact, { threads: checkThreads(threads), fusions, providers }, call),
      );
      // A failed release has no receiver here; `close` awaits the same promise and reports it.
      return orAborted(work, call, (session) => void session.release().catch(() => undefined));
    },
    close() {
      closed ??= (async () => {
        await loading.over();
        await Promise.all([...sessions].map((session) => session.release()));
        await parts.closeIdle?.();
      })();
      return closed;
    },
  };
}
