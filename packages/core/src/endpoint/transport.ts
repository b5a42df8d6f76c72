import type { Call } from "../base/index.ts";

/** What a listener knows of a sender, beyond what the sender says of itself. */
export interface Peer {
  readonly address: string;
  /** The sender runs on this machine. */
  readonly loopback: boolean;
}

/** An HTTP request in plain data, so that the protocol is written once and platforms only move bytes. */
export interface WireRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS";
  /** Path and query, beginning with `/`. */
  readonly path: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: WireBody;
  /** Set where it is received, never by the sender. */
  readonly peer?: Peer;
}

export interface WireResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: WireBody;
}

/**
 * A body: parts that are already here (sent one after another, never joined first), or a stream that is still arriving.
 */
export type WireBody =
  | { readonly kind: "parts"; readonly parts: readonly Uint8Array[] }
  | { readonly kind: "stream"; readonly byteLength: number | undefined; read(): AsyncIterable<Uint8Array> };

/** No body. */
export const emptyBody: WireBody = { kind: "parts", parts: [] };

/** Moves requests to one server. */
export interface Transport {
  /** Whether the peer's receipt of a long body becomes visible while it is sent. */
  readonly progress: "acknowledged" | "none";
  /**
   * Rejects with `unreachable` when no connection comes about, `no-answer` when it breaks or stays silent, and with the
   * call's own error when that ends first. Never retries.
   */
  send(request: WireRequest, call: Call, acknowledged?: (bytes: number) => void): Promise<WireResponse>;
  close(): Promise<void>;
}

/** What a server is, without sockets: the memory transport calls it directly, `server/listen` puts it on a port. */
export type Handler = (
  request: WireRequest,
  call: Call,
  received?: (bytes: number) => void,
) => Promise<WireResponse>;
