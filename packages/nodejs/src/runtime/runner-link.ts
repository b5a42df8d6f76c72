import type { LongshoreError } from "@longshore/core";
import type { FromRunner, ToRunner } from "./runner-message.ts";

/** A thread or process that holds one session, and the messages to and from it. */
export interface RunnerLink {
  /** Whether memory moves with a message (thread) or is copied (process). */
  readonly moves: boolean;
  /** Memory that both sides have; undefined where none can be shared. */
  readonly shared?: SharedArrayBuffer;
  send(message: ToRunner, transfer: readonly ArrayBuffer[]): void;
  /** While it is held, the program does not end by itself. */
  hold(held: boolean): void;
  /** Ends it at once, whatever it does; `ended` is told `why`. Undefined where that would take the program along. */
  kill?(why: LongshoreError): void;
  /** Ends it when it does nothing or has ended already; resolves when it is gone. */
  end(): Promise<void>;
}

/** What a link tells. `ended` comes at most once, and never after `end` was called. */
interface LinkEvents {
  received(message: FromRunner): void;
  ended(why: LongshoreError): void;
}

/** Starts a thread or process. */
export type OpenLink = (events: LinkEvents) => RunnerLink;
