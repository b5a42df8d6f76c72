import { type Call, type Clock, LongshoreError, type Tensors, type TensorSpec } from "@longshore/core";
import { abortError, whenAborted } from "@longshore/core/internal";
import type { InferenceSession, PassedOver } from "@longshore/engine";
import { checkFeeds } from "./check-feeds.ts";
import type { PackedFeeds } from "./pack-feeds.ts";
import { failure, type LoadedRunner, type RunnerClient } from "./runner-client.ts";
import type { Backend, FromRunner, LoadedMessage, OutputMessage } from "./runner-message.ts";
import { unpackOutputs } from "./unpack-outputs.ts";

/** A session that also reports its execution provider, and why earlier providers were not used. */
export interface ProviderSession extends InferenceSession {
  readonly provider: string;
  readonly passedOver: readonly PassedOver[];
}

/** Maximum length of a run, if it can be ended. */
export interface RunLimit {
  readonly clock: Clock;
  readonly runDeadlineMs: number;
}

/** The parts of a session. */
export interface RunnerSessionParts {
  readonly backend: Backend;
  readonly first: LoadedRunner;
  /** Starts another runner after one has died; undefined if a session ends with its runner. */
  readonly restart: ((call: Call) => Promise<LoadedRunner>) | undefined;
  readonly limit: RunLimit | undefined;
  /** Called once, when the session has ended. */
  readonly released: () => void;
}

interface Entry {
  readonly feeds: Tensors;
  readonly fetches: readonly string[];
  readonly call: Call;
  settled: boolean;
  answer(outputs: Tensors): void;
  fail(why: unknown): void;
}

/**
 * A session whose runner does the work. It keeps the order of runs, drops results of cancelled calls, and never ends a thread that is
 * inside native code.
 */
export class RunnerSession implements ProviderSession {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly provider: string;
  readonly passedOver: readonly PassedOver[];
  readonly build?: string;
  ranMs: number | undefined;
  begun = false;
  readonly #parts: RunnerSessionParts;
  readonly #outputNames: readonly string[];
  readonly #waiting: Entry[] = [];
  readonly #awaitIdle: (() => void)[] = [];
  #client: RunnerClient;
  #running: Entry | undefined;
  /** Outputs of the previous run, if they lay in the page. */
  #lastOutputs: readonly OutputMessage[] = [];
  #released: Promise<void> | undefined;

  constructor(parts: RunnerSessionParts) {
    const loaded: LoadedMessage = parts.first.loaded;
    this.inputs = loaded.inputs;
    this.outputs = loaded.outputs;
    this.provider = loaded.provider;
    this.passedOver = loaded.passedOver;
    // A process with an untrusted model may send anything, or nothing.
    const version: unknown = loaded.runtimeVersion;
    if (typeof version === "string" && version.length < 100)
      this.build = `${parts.backend} ${version} ${loaded.provider}`;
    this.#outputNames = loaded.outputs.map(({ name }) => name);
    this.#client = parts.first.client;
    this.#parts = parts;
  }

  /** With no `fetches`, all outputs. */
  run(feeds: Tensors, fetches: readonly string[], call: Call): Promise<Tensors> {
    return new Promise((resolve, reject) => {
      if (!this.#running) this.begun = false;
      if (this.#released) {
        throw new LongshoreError("run-failed", "execute", "the session has been released");
      }
      if (call.abort.aborted) throw abortError(call.abort, "execute");
      checkFeeds(feeds, fetches, this.inputs, this.outputs);
      const onAbort = (): void => entry.fail(abortError(call.abort, "execute"));
      const settle = (): boolean => {
        if (entry.settled) return false;
        entry.settled = true;
        stopListening();
        return true;
      };
      const entry: Entry = {
        feeds,
        fetches: fetches.length === 0 ? this.#outputNames : fetches,
        call,
        settled: false,
        answer: (outputs) => {
          if (settle()) resolve(outputs);
        },
        fail: (why) => {
          if (settle()) reject(LongshoreError.from(why, "execute", "the run"));
        },
      };
      const stopListening = whenAborted(call.abort, onAbort);
      if (this.#running) this.#waiting.push(entry);
      else this.#start(entry);
    });
  }

  idle(): Promise<void> {
    if (!this.#running) return Promise.resolve();
    return new Promise((resolve) => this.#awaitIdle.push(resolve));
  }

  /** Accepted runs are finished first. */
  release(): Promise<void> {
    this.#released ??= this.idle()
      .then(() => this.#client.close())
      .finally(this.#parts.released);
    return this.#released;
  }

  #start(entry: Entry): void {
    this.#running = entry;
    this.begun = false;
    const { ended } = this.#client;
    if (!ended) this.#send(entry);
    else if (this.#parts.restart) void this.#restart(entry, this.#parts.restart);
    else {
      this.#fail(
        entry,
        new LongshoreError("runtime-crashed", "execute", "the session has ended; load the model again", {
          cause: ended,
        }),
      );
    }
  }

  async #restart(entry: Entry, restart: (call: Call) => Promise<LoadedRunner>): Promise<void> {
    try {
      this.#client = (await restart(entry.call)).client;
    } catch (thrown) {
      this.#fail(entry, thrown);
      return;
    }
    if (entry.settled) this.#next();
    else this.#send(entry);
  }

  #send(entry: Entry): void {
    const client = this.#client;
    const pause = async (): Promise<void> => {
      await new Promise<void>((resolve) => void setImmediate(resolve));
      if (entry.settled) throw abortError(entry.call.abort, "execute");
    };
    try {
      const packed = client.packer.pack(entry.feeds, entry.fetches, pause);
      if (packed instanceof Promise) {
        packed
          .then((feeds) => this.#exchange(entry, client, feeds))
          .catch((thrown: unknown) => this.#fail(entry, thrown));
      } else this.#exchange(entry, client, packed);
    } catch (thrown) {
      this.#fail(entry, thrown);
    }
  }

  #exchange(entry: Entry, client: RunnerClient, { message, transfer }: PackedFeeds): void {
    const { limit } = this.#parts;
    let timer: Disposable | undefined;
    const over = (): void => timer?.[Symbol.dispose]();
    this.begun = true;
    const answer = client.exchange(message, transfer);
    if (limit && Number.isFinite(limit.runDeadlineMs)) {
      timer = limit.clock.timer(limit.runDeadlineMs, () => {
        client.kill(
          new LongshoreError(
            "run-deadline",
            "execute",
            `a run took longer than the limit of ${limit.runDeadlineMs} ms and was ended`,
          ),
        );
      });
    }
    answer.then(
      (reply) => {
        over();
        this.#finish(entry, reply, client);
      },
      (thrown: unknown) => {
        over();
        this.#fail(entry, thrown);
      },
    );
  }

  #finish(entry: Entry, message: FromRunner, client: RunnerClient): void {
    try {
      entry.answer(unpackOutputs(this.#outputsOf(message, client), this.outputs, client.outputPage));
    } catch (thrown) {
      entry.fail(thrown);
    }
    this.#next();
  }

  #outputsOf(message: FromRunner, client: RunnerClient): readonly OutputMessage[] {
    // A process with an untrusted model may send anything.
    const ranMs: unknown = "ranMs" in message ? message.ranMs : undefined;
    this.ranMs = typeof ranMs === "number" && ranMs >= 0 ? ranMs : undefined;
    if (message.kind === "same-outputs") return this.#lastOutputs;
    if ((message.kind === "outputs" || message.kind === "failed") && message.buffer) {
      client.packer.returned(message.buffer);
    }
    if (message.kind !== "outputs") throw failure(message, "the run failed");
    // Only outputs in the page can be the same again; other outputs are not retained here.
    const placed = message.outputs.every(({ data }) => !ArrayBuffer.isView(data) && "offset" in data);
    this.#lastOutputs = placed ? message.outputs : [];
    return message.outputs;
  }

  #fail(entry: Entry, why: unknown): void {
    entry.fail(why);
    this.#next();
  }

  #next(): void {
    this.#running = undefined;
    let entry = this.#waiting.shift();
    while (entry?.settled) entry = this.#waiting.shift();
    if (entry) this.#start(entry);
    else for (const resolve of this.#awaitIdle.splice(0)) resolve();
  }
}
