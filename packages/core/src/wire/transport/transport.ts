import type { Call } from "../../words/base/index.ts";
import type { StreamBody, WireBody } from "../body/index.ts";
import type { InferReplyMessage, InferRequestMessage } from "../protocol/index.ts";

/** The facts of a certificate that a client proved to hold the key of. */
export interface PeerCertificate {
  /** Signed by the authority that the listener was given, and in its time. Otherwise it names no peer. */
  readonly verified: boolean;
  /** SHA-256 of the certificate in DER, as 64 lower-case hexadecimal digits. */
  readonly fingerprint: string;
  /** The subject's distinguished name, for logs only. */
  readonly subject: string;
  /** URI names (SPIFFE) in the certificate's order, unparsed. */
  readonly uris: readonly string[];
}

/** A listener's knowledge of a sender, beyond the sender's own statements. */
export interface Peer {
  readonly address: string;
  /** The sender runs on this machine. */
  readonly loopback: boolean;
  /** The connection is encrypted up to this process. Default false. */
  readonly encrypted?: boolean;
  /** Undefined when the client showed none. */
  readonly certificate?: PeerCertificate;
}

/** Where a connection reads to. */
export interface ReadBuffers {
  /** Memory for the next read, at least a byte, which stays where it is until `came` or the end of the connection. */
  memory(): Uint8Array;
  /** This many bytes are in the memory that was requested last. */
  came(bytes: number): void;
}

/** Memory of one read, in bytes, if its length is unknown. */
export const readMemoryBytes = 65_536;

/**
 * The surfaces of a listener: `data` is inference and the requests that clients need around it, `manage` loading, unloading,
 * settings and registrations, `observe` metrics. Health is served everywhere.
 */
export type Surface = "data" | "manage" | "observe";

/** An HTTP request in plain data, so that the protocol is written once and platforms only move bytes. */
export interface WireRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS";
  /** Path and query, beginning with `/`. */
  readonly path: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: WireBody;
  /** To be done twice does no harm, though neither its method nor a key says so. Set by the sender. */
  readonly repeatable?: boolean;
  /** The reply goes on for as long as its reader takes it: its bytes in all have no limit. Set by the sender. */
  readonly endless?: true;
  /** Replaces the body if a listener speaks another encoding of the protocol. */
  readonly message?: IncomingMessage;
  /** Set where it is received, never by the sender. */
  readonly peer?: Peer;
  /** The method of gRPC that it came by: `package.Service/Method`. Undefined for HTTP. Set where it is received. */
  readonly rpc?: string;
  /** The surfaces of the receiving listener; undefined for all. Set where it is received. */
  readonly surfaces?: readonly Surface[];
}

export interface WireResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: WireBody;
  /** All of the request was written before this came: nothing looks at the parts of its body any more. */
  readonly written?: true;
  /** The reply to an inference that came as a message, which the listener encodes; the body is then empty. */
  readonly message?: InferReplyMessage;
  /** The replies of a decoupled model, if the sender takes several; instead of `message`. */
  readonly messages?: AsyncIterable<InferReplyMessage>;
  /**
   * The entries of the body, which may be thousands, for code that writes them in another encoding and does not read the body.
   */
  readonly entries?: Iterable<object>;
  /** Inferences that the server answers in a second, for load reports in another encoding; with `message` only. */
  readonly perSecond?: number;
  /** The headers after the last of `messages`; nothing before that. */
  trailers?(): Readonly<Record<string, string>>;
}

/**
 * An inference request in another encoding than JSON and binary data (gRPC's). It is read only when what path and headers
 * tell has been checked, so it may still be arriving.
 */
export interface IncomingMessage {
  /** Bytes that it takes, known before they are here: limits and budgets count them. */
  readonly byteLength: number;
  /** The sender takes any number of replies to it. */
  readonly stream: boolean;
  /**
   * Can be read once. The tensors may be views on one buffer, which is not written to afterwards. `memory` gives it: exactly
   * that many bytes that may hold any content, since all of it is written before it is read. Default: fresh memory, as also
   * where the message comes compressed.
   */
  read(memory?: (byteLength: number) => ArrayBuffer): Promise<InferRequestMessage>;
  /** The same in HTTP's binary form, while it arrives, to read instead; undefined where only the whole tells what it is. Made once. */
  binary?():
    | { readonly headerLength: number; readonly body: StreamBody & { readonly byteLength: number } }
    | undefined;
}

/** Moves requests to one server. */
export interface Transport {
  /** Whether the peer's receipt of a long body becomes visible while it is sent. */
  readonly progress: "acknowledged" | "none";
  /**
   * Rejects with `unreachable` when no connection comes about, `no-answer` when it breaks or stays silent, and with the
   * call's own error when that ends first. Retries at most what may be repeated and found its kept connection closed.
   */
  send(request: WireRequest, call: Call, acknowledged?: (bytes: number) => void): Promise<WireResponse>;
  /** The wait of the next request on its connection; undefined if an open one is free and was in use. Absent: it is not known. */
  readonly connecting?: () => Connecting | undefined;
  /** Calls `lost` when the peer ends a connection without a request on it, as it does when its process ends. Absent: it is not known. */
  readonly watchLost?: (lost: () => void) => Disposable;
  close(): Promise<void>;
}

/** A connection that is still to be made, or an open one that sent nothing for a while. */
export interface Connecting {
  /** Round trips until a request can be sent: looking up the name, the connection, and TLS where it is used; 0 on an open one. */
  readonly roundTrips: number;
  /** How long connections to this server took before, in milliseconds. Absent: none was made yet. */
  readonly tookMs?: number;
  /** How long an open one has sent nothing, in milliseconds: TCP begins with a small window again. */
  readonly idleMs?: number;
}

/** A server without sockets: the memory transport calls it directly, `server/listen` puts it on a port. */
export type Handler = (
  request: WireRequest,
  call: Call,
  received?: (bytes: number) => void,
) => Promise<WireResponse>;
