import {
  type LoadReport,
  readBody,
  type WireBody,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import {
  checksumHeader,
  checksumText,
  crc32Of,
  encodedInSteps,
  jsonType,
  loadHeaders,
  orcaFormatHeader,
  parseJson,
  read,
} from "@longshore/core/internal";
import type { Api, IncomingRequest } from "./parts.ts";

const encoder = new TextEncoder();

/**
 * Adds the checksum of a reply's body to its headers if the request wants it. `known` is the checksum that another server stated for
 * the same bytes; a body that is still arriving has no other.
 */
export function stateChecksum(
  { bodies: { crc32 } }: Pick<Api, "bodies">,
  request: Pick<WireRequest, "headers">,
  headers: Record<string, string>,
  body: WireBody,
  known?: number,
): void {
  if (request.headers[checksumHeader] === undefined) return;
  const value = known ?? (body.kind === "parts" ? crc32Of(body.parts, crc32) : undefined);
  if (value !== undefined) headers[checksumHeader] = checksumText(value);
}

/** The headers that tell the load, with the rate of replies for clients that read it in ORCA's format. */
export function toldLoad(
  { rate }: Pick<Api, "rate">,
  load: LoadReport,
  { headers }: Pick<WireRequest, "headers">,
): Record<string, string> {
  return loadHeaders(load, headers, headers[orcaFormatHeader] === undefined ? 0 : rate.perSecond());
}

/** A JSON reply. */
export function jsonReply(value: unknown, headers: Readonly<Record<string, string>> = {}): WireResponse {
  return {
    status: 200,
    headers: { "content-type": jsonType, ...headers },
    body: { kind: "parts", parts: [encoder.encode(JSON.stringify(value))] },
  };
}

/** Entries that are written at once. */
const fewEntries = 16;

/**
 * A JSON reply with a list between two texts. Of thousands each entry is made when it is written, in steps of two milliseconds or
 * so with a `pause` between.
 */
export function listReply<T>(
  listed: readonly T[],
  entryOf: (one: T) => object,
  [before, after]: readonly [string, string],
  pause: () => Promise<void>,
): WireResponse {
  function* pieces(): Generator<string> {
    yield before;
    for (const [index, one] of listed.entries())
      yield `${index === 0 ? "" : ","}${JSON.stringify(entryOf(one))}`;
    yield after;
  }
  if (listed.length <= fewEntries) return textReply([...pieces()].join(""), jsonType);
  async function* read(): AsyncIterable<Uint8Array> {
    yield* await encodedInSteps(pieces(), pause);
  }
  function* entries(): Generator<object> {
    for (const one of listed) yield entryOf(one);
  }
  return {
    status: 200,
    headers: { "content-type": jsonType },
    body: { kind: "stream", byteLength: undefined, read },
    entries: entries(),
  };
}

/** A text reply. */
export function textReply(text: string, type: string): WireResponse {
  return {
    status: 200,
    headers: { "content-type": type },
    body: { kind: "parts", parts: [encoder.encode(text)] },
  };
}

/** The most bytes of a request other than inference. */
const maxRequestBytes = 65_536;

/** The most values that it may have: as many keys are read in about the time for which the event loop may be held. */
const maxValues = 8192;

/** The JSON object of a request. Throws `invalid-input`, whatever the bytes are. */
export function objectFrom(bytes: Uint8Array, most: number = maxValues): object {
  return read.objectAt(parseJson(bytes, "the request", most), "the request");
}

/** The JSON object in a request's body; an empty body is an empty object, as Triton's clients send it. */
export async function requestObject(
  { request }: IncomingRequest,
  maxBytes: number = maxRequestBytes,
  most?: number,
): Promise<object> {
  const bytes = await readBody(request.body, { maxBytes });
  return bytes.byteLength === 0 ? {} : objectFrom(bytes, most);
}

/** 200 without a body, as Triton replies to requests without a result. */
export const doneReply: WireResponse = {
  status: 200,
  headers: { "content-type": jsonType },
  body: { kind: "parts", parts: [encoder.encode("{}")] },
};
