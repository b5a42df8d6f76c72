import type { ConnectionAdmission } from "@longshore/core/internal";
import type { CallStream } from "./call-stream.ts";
import type { CompleteOptions } from "./options.ts";
import type { ConnectionTimeLimits } from "./http2/connection-times.ts";
import type { WriterParts } from "./http2/socket-writer.ts";

/** A connection of a listener. */
export interface Session {
  /** Takes no more calls; the connection ends with the last of those under way. */
  close(): void;
  destroy(): void;
}

/** The parts that all connections of a listener share. */
export interface SessionParts extends WriterParts, ConnectionTimeLimits {
  readonly options: CompleteOptions;
  /** Connections are read into it, one after another. A reader copies the bytes that it keeps. */
  readonly memory: Uint8Array;
  serve(stream: CallStream, admission: ConnectionAdmission): void;
}

/** Fields of a call's headers. */
export const maxHeaderFields = 128;
