import type { Peer } from "@longshore/core";
import { noHeaders } from "@longshore/core/internal";
import type { Parts } from "../message/index.ts";

/** The headers of a call, before its messages. */
export interface CallHead {
  readonly method: string;
  readonly path: string;
  readonly contentType: string;
  /** `grpc-timeout`. */
  readonly timeout: string | undefined;
  /** `grpc-encoding`, in lower case. */
  readonly encoding: string;
  /** `grpc-accept-encoding`. */
  readonly accepts: string;
  /** All other headers, by lower-case names, and `host`, which identity reads. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Headers that are the transport's own business. */
const transportHeaders: ReadonlySet<string> = new Set([
  "te",
  "content-type",
  "user-agent",
  "grpc-encoding",
  "grpc-accept-encoding",
]);

/** @param headers With the fields that begin with a colon; values that came several times are joined by commas. */
export function callHead(headers: Readonly<Record<string, string | undefined>>): CallHead {
  const metadata = noHeaders();
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined && !name.startsWith(":") && !transportHeaders.has(name)) metadata[name] = value;
  }
  const authority = headers[":authority"];
  // HTTP/1.1 has it as the header `host`.
  if (authority !== undefined) metadata["host"] = authority;
  return {
    method: headers[":method"] ?? "",
    path: headers[":path"] ?? "",
    contentType: headers["content-type"] ?? "",
    timeout: headers["grpc-timeout"],
    encoding: (headers["grpc-encoding"] ?? "identity").toLowerCase(),
    accepts: headers["grpc-accept-encoding"] ?? "",
    metadata,
  };
}

/** The events on the stream of a call. */
export interface StreamEvents {
  /** Some of what the client sends. */
  data(chunk: Uint8Array): void;
  /** The client has sent its last. */
  end(): void;
  /** More may be written. */
  room(): void;
  /** The stream has ended: both sides have ended it, or one has broken it off. Comes once, as the last event. */
  closed(): void;
}

/** The stream of one call in HTTP/2, for either framing. */
export interface CallStream {
  readonly head: CallHead;
  readonly peer: Peer;
  /** Nothing of what the client sends is read before. */
  listen(events: StreamEvents): void;
  /** Lets the client send no more than its window allows. */
  pause(): void;
  resume(): void;
  readonly paused: boolean;
  /** `end` was reported. */
  readonly ended: boolean;
  readonly closed: boolean;
  /** Headers of the reply have been sent. */
  readonly begun: boolean;
  /** Bytes of the reply that wait for the client to read. */
  readonly unsentBytes: number;
  /** Sends the headers of a reply. `status` is 200 by default. Throws for what HTTP/2 cannot carry. */
  begin(headers: Readonly<Record<string, string>>, status?: number): void;
  /**
   * Sends bytes, which stay as they are until the stream is closed, and are freed once sent if they are given; false if the
   * caller should wait for `room`.
   */
  write(bytes: Parts): boolean;
  /** Ends the reply after the last bytes. Throws for headers that HTTP/2 cannot carry. */
  end(trailers: Readonly<Record<string, string>>, last?: Parts): void;
  /** A whole reply of headers. Throws for what HTTP/2 cannot carry. */
  answer(status: number, headers: Readonly<Record<string, string>>): void;
  /** Breaks the stream off, with one of HTTP/2's codes. */
  reset(code: number): void;
}
