import { type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { LongshoreError, type Reason } from "@longshore/core";

/** An object of the API, as far as every object has these fields. */
export interface KubernetesObject {
  readonly metadata?: {
    readonly name?: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly resourceVersion?: string;
    readonly deletionTimestamp?: string;
  };
}

/** One page of a list. */
export interface ListPage {
  readonly items: readonly KubernetesObject[];
  /** From where a watch continues. */
  readonly resourceVersion: string;
  /** Token of the next page; undefined for the last one. */
  readonly next: string | undefined;
}

/** One line of a watch. */
export interface WatchEvent {
  readonly type: string;
  /** The object, or a `Status` for events of type ERROR. */
  readonly object: KubernetesObject & { readonly code?: number; readonly message?: string };
}

/** Parameters of a list or a watch. */
export interface ListQuery {
  /** Such as `/api/v1/namespaces/shop/pods`. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  /** Asks for metadata only, which is a small part of a large object. Default false. */
  readonly metadataOnly?: boolean;
}

/** The two calls that an observer of Kubernetes needs. */
export interface KubernetesApi {
  /** Address of the API server, for display. */
  readonly name: string;
  /** Throws `Expired` for 410, else `LongshoreError`. `heard` is called for each chunk of the reply. */
  list(asked: ListQuery, signal: AbortSignal, heard: () => void): Promise<ListPage>;
  /** Resolves when the server ends the watch. Throws as `list` does. */
  watch(
    asked: ListQuery,
    signal: AbortSignal,
    heard: () => void,
    each: (event: WatchEvent) => void,
  ): Promise<void>;
}

/** The API server no longer has the changes since that resource version (410): everything has to be listed again. */
export class Expired extends Error {}

/** Maximum size of one page, of one line of a watch, and of an error, in bytes. */
const mostPageBytes = 64 * 2 ** 20;
const mostLineBytes = 4 * 2 ** 20;
const mostErrorBytes = 16_384;

const reasonsByStatus: ReadonlyMap<number, Reason> = new Map<number, Reason>([
  [400, "invalid-configuration"],
  [401, "unauthenticated"],
  [403, "not-permitted"],
  [404, "invalid-configuration"],
]);

/** Text of the API server, fit for a message of ours. */
function shown(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]+/gu, " ").slice(0, 300);
}

/** The error for a status that the API server reported. */
export function apiFailure(path: string, status: number, message: string): Error {
  if (status === 410) return new Expired(`${path}: ${shown(message)}`);
  const reason = reasonsByStatus.get(status) ?? "unreachable";
  const hints: Readonly<Record<number, string>> = {
    401: "; check the token of the service account or the kubeconfig",
    403: "; grant get, list and watch",
    404: "; check the namespace, and that its resource definition is installed",
  };
  const text = `the Kubernetes API answered ${status} for ${path}: ${shown(message)}${hints[status] ?? ""}`;
  return new LongshoreError(reason, "resolve", text);
}

function bad(path: string, why: string): LongshoreError {
  return new LongshoreError("bad-reply", "resolve", `the Kubernetes API's reply for ${path} ${why}`);
}

async function readAll(reply: IncomingMessage, most: number, path: string, heard: () => void) {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of reply as AsyncIterable<Buffer>) {
    heard();
    bytes += piece.byteLength;
    if (bytes > most) throw bad(path, `has more than ${most} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces, bytes).toString();
}

function parsed(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw bad(path, "is no JSON");
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The lines of a stream, without their ends. */
async function* linesOf(reply: IncomingMessage, path: string, heard: () => void): AsyncIterable<string> {
  let pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of reply as AsyncIterable<Buffer>) {
    heard();
    let from = 0;
    for (let end = piece.indexOf(10); end >= 0; end = piece.indexOf(10, from)) {
      pieces.push(piece.subarray(from, end));
      yield Buffer.concat(pieces).toString();
      pieces = [];
      bytes = 0;
      from = end + 1;
    }
    bytes += piece.byteLength - from;
    if (bytes > mostLineBytes) throw bad(path, `has a line of more than ${mostLineBytes} bytes`);
    if (from < piece.byteLength) pieces.push(piece.subarray(from));
  }
}

/**
 * Talks to an API server.
 *
 * @param authorise Adds credentials and trust to a request. It is called for each one, because tokens of service accounts expire.
 */
export function kubernetesApi(
  server: URL,
  authorise: (request: RequestOptions) => Promise<void>,
): KubernetesApi {
  const base = server.pathname.replace(/\/$/, "");

  async function get({ path, query, metadataOnly }: ListQuery, signal: AbortSignal, watched: boolean) {
    const kind = watched ? "PartialObjectMetadata" : "PartialObjectMetadataList";
    const accept = metadataOnly === true ? `application/json;as=${kind};g=meta.k8s.io;v=v1,` : "";
    const options: RequestOptions = {
      method: "GET",
      headers: { accept: `${accept}application/json`, "user-agent": "longshore" },
    };
    await authorise(options);
    const target = `${base}${path}?${new URLSearchParams(query).toString()}`;
    const ask = server.protocol === "https:" ? httpsRequest : httpRequest;
    return new Promise<IncomingMessage>((resolve, reject) => {
      const { protocol, hostname, port } = server;
      const host = hostname.replace(/^\[(.*)\]$/, "$1");
      const sent = ask({ ...options, protocol, host, port, path: target, signal }, resolve);
      sent.on("error", reject);
      sent.on("socket", (socket) => socket.setKeepAlive(true, 30_000));
      sent.end();
    });
  }

  /** The reply with status 200. */
  async function replied(
    asked: ListQuery,
    signal: AbortSignal,
    heard: () => void,
    watched: boolean,
  ): Promise<IncomingMessage> {
    try {
      const reply = await get(asked, signal, watched);
      heard();
      if (reply.statusCode === 200) return reply;
      const text = await readAll(reply, mostErrorBytes, asked.path, heard).catch(() => "");
      let message = text;
      try {
        const status: unknown = JSON.parse(text);
        if (isRecord(status) && typeof status["message"] === "string") message = status["message"];
      } catch {
        // A proxy before the API server may answer with text.
      }
      throw apiFailure(asked.path, reply.statusCode ?? 0, message);
    } catch (thrown) {
      throw failureOf(thrown);
    }
  }

  function failureOf(thrown: unknown): unknown {
    if (thrown instanceof Expired || LongshoreError.is(thrown)) return thrown;
    const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "the connection broke";
    return new LongshoreError(
      "unreachable",
      "transport",
      `the Kubernetes API at ${server.host} cannot be reached: ${shown(code)}`,
      { cause: thrown },
    );
  }

  return {
    name: server.host,
    async list(asked, signal, heard) {
      const reply = await replied(asked, signal, heard, false);
      const text = await readAll(reply, mostPageBytes, asked.path, heard).catch((thrown: unknown) => {
        throw failureOf(thrown);
      });
      const found = parsed(text, asked.path);
      const metadata = isRecord(found) ? found["metadata"] : undefined;
      if (!isRecord(found) || !isRecord(metadata) || typeof metadata["resourceVersion"] !== "string") {
        throw bad(asked.path, "is no list");
      }
      const items = Array.isArray(found["items"]) ? found["items"].filter(isRecord) : [];
      const next = metadata["continue"];
      return {
        items,
        resourceVersion: metadata["resourceVersion"],
        next: typeof next === "string" && next !== "" ? next : undefined,
      };
    },
    async watch(asked, signal, heard, each) {
      const reply = await replied(asked, signal, heard, true);
      try {
        for await (const line of linesOf(reply, asked.path, heard)) {
          if (line === "") continue;
          const event = parsed(line, asked.path);
          if (!isRecord(event) || typeof event["type"] !== "string" || !isRecord(event["object"])) {
            throw bad(asked.path, "has a line that is no watch event");
          }
          each({ type: event["type"], object: event["object"] });
        }
      } catch (thrown) {
        throw failureOf(thrown);
      } finally {
        reply.destroy();
      }
    },
  };
}
