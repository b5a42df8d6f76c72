import { LongshoreError } from "@longshore/core";
import type { OpenLink, RunnerLink } from "./runner-link.ts";
import { sharedPage } from "./shared-page.ts";
import { type FeedPacker, feedPacker } from "./pack-feeds.ts";
import type { FromRunner, LoadedMessage, ToRunner } from "./runner-message.ts";

interface Pending {
  readonly resolve: (message: FromRunner) => void;
  readonly reject: (why: LongshoreError) => void;
}

/** This side of a runner: one request at a time, and the error when the runner dies. */
export class RunnerClient {
  readonly #link: RunnerLink;
  /** Packs the inputs of its runs. */
  readonly packer: FeedPacker;
  /** The shared page's part for outputs. */
  readonly outputPage: Uint8Array | undefined;
  #pending: Pending | undefined;
  #ended: LongshoreError | undefined;

  constructor(open: OpenLink) {
    this.#link = open({
      received: (message) => {
        const pending = this.#pending;
        this.#pending = undefined;
        this.#link.hold(false);
        pending?.resolve(message);
      },
      ended: (why) => {
        const pending = this.#pending;
        this.#pending = undefined;
        this.#ended = why;
        pending?.reject(why);
      },
    });
    const page = this.#link.shared && sharedPage(this.#link.shared);
    this.packer = feedPacker(this.#link.moves, page?.inputs);
    this.outputPage = page?.outputs;
  }

  /** Whether sent memory is moved away. */
  get moves(): boolean {
    return this.#link.moves;
  }

  get shared(): SharedArrayBuffer | undefined {
    return this.#link.shared;
  }

  /** Why it ended; undefined while it lives. */
  get ended(): LongshoreError | undefined {
    return this.#ended;
  }

  /** Sends a message and awaits the answer. Rejects with `runtime-crashed` (or the reason of its kill) if the runner dies. */
  exchange(message: ToRunner, transfer: readonly ArrayBuffer[]): Promise<FromRunner> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(this.#ended);
        return;
      }
      this.#link.send(message, transfer);
      this.#link.hold(true);
      this.#pending = { resolve, reject };
    });
  }

  /** Kills it if possible. Returns whether it was killed. */
  kill(why: LongshoreError): boolean {
    if (!this.#link.kill || this.#ended) return false;
    this.#link.kill(why);
    return true;
  }

  /** Frees the session and ends the runner. Call it only while no request is under way. Resolves when the runner is gone. */
  async close(): Promise<void> {
    if (!this.#ended) {
      try {
        await this.exchange({ kind: "release" }, []);
      } catch (thrown) {
        // It died while it was being freed, which is the intended result.
        if (!LongshoreError.is(thrown)) throw thrown;
      }
    }
    this.#ended ??= new LongshoreError("run-failed", "execute", "the session has been released");
    await this.#link.end();
  }
}

/** The error for a runner's refusal. */
export function failure(message: FromRunner, attempted: string): LongshoreError {
  if (message.kind === "failed") {
    return new LongshoreError(message.reason, "execute", `${attempted}: ${message.detail}`);
  }
  return new LongshoreError("bad-reply", "execute", `${attempted}: the runtime answered '${message.kind}'`);
}

/** A runner that has loaded its file. */
export interface LoadedRunner {
  readonly client: RunnerClient;
  readonly loaded: LoadedMessage;
}
