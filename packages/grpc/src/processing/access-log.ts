import { Cursor } from "../message/index.ts";
import type { GrpcService, MethodCall } from "../service/index.ts";

/*
 * Envoy's access log, as a source of the outcome of requests: a proxy that sends the headers of a reply to its processor waits for the
 * answer, and nothing waits for a log. An entry is written when the request has ended.
 *
 * Entries are read here rather than by a schema: of some hundred fields ten are wanted, and each request makes an entry.
 */

type Headers = Readonly<Record<string, string>>;

/** A request that has ended, as the log of a proxy reports it. */
export interface LoggedRequest {
  /** Texts of the proxy's metadata in the namespace of `AccessLogOptions`. */
  readonly metadata: Headers;
  /** Status of the reply; 0 if there was none. */
  readonly status: number;
  /** The origin of the reply: `via_upstream` for one of the server. Empty if unknown. */
  readonly details: string;
  /** The client closed the connection before the request had ended. */
  readonly cancelled: boolean;
  /** `host:port` of the server that the request was sent to. */
  readonly upstream: string | undefined;
  /** From the first byte that was sent to the server until the first byte of its reply, in milliseconds. */
  readonly tookMs: number | undefined;
  /** Headers of the reply that the proxy was configured to log, by lower-case name. */
  readonly headers: Headers;
}

/** How entries are read. */
export interface AccessLogOptions {
  /** Namespace of the proxy's metadata. Entries without it are ignored. */
  readonly namespace: string;
  /** A request has ended. */
  logged(request: LoggedRequest): void;
}

/** Longer texts are taken for empty, in bytes. Envoy accepts no more of all headers together. */
const mostTextBytes = 61_440;

const utf8 = new TextDecoder();

function textIn(cursor: Cursor): string {
  const bytes = cursor.view();
  return bytes.byteLength > mostTextBytes ? "" : utf8.decode(bytes);
}

/** Calls back for the fields of a message that are messages or bytes, and skips all others. */
function eachField(cursor: Cursor, take: (number: number) => boolean): void {
  while (cursor.field()) if (!take(cursor.number)) cursor.skip();
}

/** Key and value of an entry of a map. */
function entryIn(cursor: Cursor, value: (inner: Cursor) => void): string {
  let key = "";
  eachField(cursor, (number) => {
    if (number === 1) key = textIn(cursor);
    else if (number === 2) value(cursor);
    else return false;
    return true;
  });
  return key;
}

/** A map of texts. */
function addText(to: Record<string, string>, cursor: Cursor): void {
  let text = "";
  const key = entryIn(cursor, (inner) => (text = textIn(inner)));
  if (key !== "") to[key.toLowerCase()] = text;
}

/** Texts of a `google.protobuf.Struct`. */
function structIn(cursor: Cursor): Record<string, string> {
  const texts: Record<string, string> = {};
  eachField(cursor, (number) => {
    if (number !== 1) return false;
    let text: string | undefined;
    const key = entryIn(cursor.inner(), (entry) => {
      const value = entry.inner();
      eachField(value, (kind) => {
        if (kind === 3) text = textIn(value);
        return kind === 3;
      });
    });
    if (text !== undefined) texts[key] = text;
    return true;
  });
  return texts;
}

/** A `google.protobuf.Duration` in milliseconds. */
function durationIn(cursor: Cursor): number {
  let ms = 0;
  eachField(cursor, (number) => {
    if (number !== 1 && number !== 2) return false;
    cursor.varint();
    ms += number === 1 ? cursor.signed * 1000 : cursor.signed / 1e6;
    return true;
  });
  return ms;
}

/** `host:port` of a `socket_address`. */
function addressIn(cursor: Cursor): string | undefined {
  let address: string | undefined;
  eachField(cursor, (number) => {
    if (number !== 1) return false;
    const socket = cursor.inner();
    let [host, port] = ["", 0];
    eachField(socket, (part) => {
      if (part === 2) host = textIn(socket);
      else if (part === 3) {
        socket.varint();
        port = socket.unsigned;
      } else return false;
      return true;
    });
    address = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    return true;
  });
  return address;
}

/** Field 15 of `ResponseFlags`: `downstream_connection_termination`. */
const cancelledFlag = 15;

/** One `HTTPAccessLogEntry`; undefined if it has no metadata of the namespace. */
function entryOf(entry: Cursor, namespace: string): LoggedRequest | undefined {
  let metadata: Record<string, string> | undefined;
  let sentMs: number | undefined;
  let repliedMs: number | undefined;
  let upstream: string | undefined;
  let cancelled = false;
  let status = 0;
  let details = "";
  const headers: Record<string, string> = {};

  const common = (cursor: Cursor): void =>
    eachField(cursor, (number) => {
      if (number === 7) sentMs = durationIn(cursor.inner());
      else if (number === 9) repliedMs = durationIn(cursor.inner());
      else if (number === 13) upstream = addressIn(cursor.inner());
      else if (number === 16) {
        const flags = cursor.inner();
        eachField(flags, (flag) => {
          if (flag === cancelledFlag) {
            flags.varint();
            cancelled = flags.unsigned !== 0;
          }
          return flag === cancelledFlag;
        });
      } else if (number === 17) {
        const all = cursor.inner();
        eachField(all, (field) => {
          if (field !== 1) return false;
          let texts: Record<string, string> | undefined;
          const inner = all.inner();
          if (entryIn(inner, (value) => (texts = structIn(value.inner()))) === namespace) metadata = texts;
          return true;
        });
      } else return false;
      return true;
    });
  const response = (cursor: Cursor): void =>
    eachField(cursor, (number) => {
      if (number === 1) {
        const code = cursor.inner();
        eachField(code, (field) => {
          if (field === 1) {
            code.varint();
            status = code.unsigned;
          }
          return field === 1;
        });
      } else if (number === 4) addText(headers, cursor.inner());
      else if (number === 6) details = textIn(cursor);
      else return false;
      return true;
    });

  eachField(entry, (number) => {
    if (number === 1) common(entry.inner());
    else if (number === 4) response(entry.inner());
    else return false;
    return true;
  });
  if (!metadata) return undefined;
  const tookMs =
    sentMs === undefined || repliedMs === undefined ? undefined : Math.max(0, repliedMs - sentMs);
  return { metadata, status, details, cancelled, upstream, tookMs, headers };
}

/** The entries of one message. */
function* entriesIn(message: Uint8Array, namespace: string): Generator<LoggedRequest> {
  const cursor = new Cursor(message);
  while (cursor.field()) {
    if (cursor.number !== 2) {
      cursor.skip();
      continue;
    }
    const entries = cursor.inner();
    while (entries.field()) {
      if (entries.number !== 1) {
        entries.skip();
        continue;
      }
      const entry = entryOf(entries.inner(), namespace);
      if (entry) yield entry;
    }
  }
}

/**
 * Envoy's access log over gRPC (`envoy.access_loggers.http_grpc`), for requests that carry metadata of one namespace. A message that is
 * no protobuf ends the log with INVALID_ARGUMENT; the proxy begins another one.
 */
export function accessLog(options: AccessLogOptions): GrpcService {
  const read = async ({ next, draining }: MethodCall): Promise<void> => {
    let stop = (): void => undefined;
    const drain = (): void => stop();
    draining.addEventListener("abort", drain);
    /** The next message; undefined at the end of the log, and when the server drains, which a log would hold up. */
    const come = (): Promise<Uint8Array | undefined> =>
      new Promise((resolve, reject) => {
        stop = () => resolve(undefined);
        if (draining.aborted) stop();
        else next().then(resolve, reject);
      });
    try {
      for (let message = await come(); message; message = await come()) {
        for (const entry of entriesIn(message, options.namespace)) options.logged(entry);
      }
    } finally {
      draining.removeEventListener("abort", drain);
    }
  };
  return { name: "envoy.service.accesslog.v3.AccessLogService", methods: { StreamAccessLogs: read } };
}
