import type { Call, WireBody } from "@longshore/core";
import type { PlainConnection } from "./plain-connection.ts";

/** One request on a plain connection. */
export interface PlainRequest {
  /** Its head as it is written, to which nobody writes. */
  readonly head: Uint8Array;
  readonly body: WireBody;
  /** What the head announces; 0 without a body. */
  readonly bodyBytes: number;
  readonly call: Call;
  readonly maxBytes: number;
  readonly acknowledged: ((bytes: number) => void) | undefined;
  /** To send it twice does no more than to send it once. */
  readonly repeatable: boolean;
}

/** What the owner of a connection is told. */
export interface PlainEvents {
  /** It can take the next request. */
  free(connection: PlainConnection): void;
  /** It is no more. */
  gone(connection: PlainConnection): void;
  /** The server answered otherwise than is read here. */
  odd(): void;
}
