import type { Tensors } from "@longshore/core";
import { totalBytes } from "@longshore/core/internal";
import type { InferenceSession, Runtime } from "@longshore/engine";

/** Feeds of one graph that were kept, and how many there were. */
export interface Recorded {
  readonly feeds: readonly Tensors[];
  readonly runs: number;
}

/** How much is kept of each graph; more runs than that are thinned out evenly. */
export interface RecordingLimits {
  /** Default 32. */
  readonly feeds?: number;
  /** Default 256 MiB. */
  readonly bytes?: number;
}

/** A runtime that keeps what graphs are fed, so that a graph can be measured on what it really meets inside a pipeline. */
export interface RecordingRuntime extends Runtime {
  /** By the digest of the graph's file. */
  recorded(digest: string): Recorded;
}

/** Keeps copies of feeds: every one at first, every second, fourth and so on when there are too many. */
class Sparse {
  kept: Tensors[] = [];
  runs = 0;
  #every = 1;
  #bytes = 0;

  add(feeds: Tensors, most: Required<RecordingLimits>): void {
    if (this.runs++ % this.#every !== 0) return;
    this.kept.push(copied(feeds));
    this.#bytes += totalBytes(feeds);
    while (this.kept.length > 1 && (this.kept.length > most.feeds || this.#bytes > most.bytes)) {
      this.kept = this.kept.filter((_, at) => at % 2 === 0);
      this.#every *= 2;
      this.#bytes = this.kept.reduce((sum, one) => sum + totalBytes(one), 0);
    }
  }
}

function copied(feeds: Tensors): Tensors {
  // Not the tensor with other bytes: a tensor that was given away would be given away again by the run.
  return new Map([...feeds].map(([name, { spec, bytes }]) => [name, { spec, bytes: bytes.slice() }]));
}

/** Wraps a runtime. */
export function recordingRuntime(runtime: Runtime, limits: RecordingLimits = {}): RecordingRuntime {
  const most = { feeds: limits.feeds ?? 32, bytes: limits.bytes ?? 256 * 2 ** 20 };
  const all = new Map<string, Sparse>();
  return {
    name: runtime.name,
    async load(artifact, options, call): Promise<InferenceSession> {
      const session = await runtime.load(artifact, options, call);
      const mine = all.get(artifact.digest) ?? new Sparse();
      all.set(artifact.digest, mine);
      return {
        inputs: session.inputs,
        outputs: session.outputs,
        run(feeds, fetches, runCall) {
          mine.add(feeds, most);
          return session.run(feeds, fetches, runCall);
        },
        idle: () => session.idle(),
        release: () => session.release(),
      };
    },
    close: () => runtime.close(),
    recorded(digest) {
      const found = all.get(digest);
      return { feeds: found?.kept ?? [], runs: found?.runs ?? 0 };
    },
  };
}
