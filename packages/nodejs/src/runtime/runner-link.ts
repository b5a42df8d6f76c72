import type { LongshoreError } from "@longshore/core";
import type { FromRunner, ToRunner } from "./runner-message.ts";

/** A thread or process that holds one session, and the messages to and from it. */
export interface RunnerLink {
  /** Whether memory moves with a message (thread) or is copied (process). */
  readonly moves: boolean;
  /** Memory shared by both sides; undefined if none can be shared. */
  readonly shared?: SharedArrayBuffer;
  send(message: ToRunner, transfer: readonly ArrayBuffer[]): void;
  /** Held links keep the program alive. */
  hold(held: boolean): void;
  /** Ends it at once, in any state. `ended` receives `why`. Undefined if that would end the program. */
  kill?(why: LongshoreError): void;
  /** Ends an idle or ended runner; resolves when it is gone. */
  end(): Promise<void>;
}

/** Events of a link. `ended` comes at most once, and never after `end` was called. */
interface LinkEvents {
  received(message: FromRunner): void;
  ended(why: LongshoreError): void;
}

/** Starts a thread or process. */
export type OpenLink = (events: LinkEvents) => RunnerLink;
