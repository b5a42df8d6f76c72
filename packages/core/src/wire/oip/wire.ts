import type { InferenceRequest, StageTime, WireForm } from "../endpoint/index.ts";
import { binaryType, checksumHeader, headerLengthHeader } from "../protocol/index.ts";
import type { WireBody } from "../body/index.ts";
import { nameThere } from "./address.ts";
import type { Exchange } from "./exchange.ts";
import type { OipEndpointParts } from "./parts.ts";

/**
 * The wire form of a request, where this server can be sent it as it is: under the same name, uncoded, with binary data,
 * and without what this endpoint would have to say in its JSON.
 */
export function sendableWire(
  { info, wire = "binary" }: OipEndpointParts,
  request: InferenceRequest,
): WireForm | undefined {
  const { wire: form, segment, codecs, sequence } = request;
  if (!form || wire !== "binary" || sequence) return undefined;
  if (nameThere(info, segment.model) !== segment.model) return undefined;
  for (const codec of Object.values(codecs)) if (codec !== "raw") return undefined;
  return form;
}

/** A wire form with the headers that describe it. */
export function wireMessage({ headerLength, body }: WireForm): {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: WireBody;
} {
  return { headers: { "content-type": binaryType, [headerLengthHeader]: String(headerLength) }, body };
}

/** A reply in the form in which it came: all of it, or what is here and the rest as it comes. */
export function wireReply({ bytes, rest, receivedBytes, headers }: Exchange, headerLength: number): WireForm {
  const stated = headers[checksumHeader];
  const sum = stated === undefined ? {} : { crc32: Number.parseInt(stated, 16) };
  if (!rest) return { headerLength, body: { kind: "parts", parts: [bytes] }, ...sum };
  async function* all(): AsyncIterable<Uint8Array> {
    yield bytes;
    // Not null: narrowed above, which a function inside does not see.
    yield* rest as AsyncIterable<Uint8Array>;
  }
  return { headerLength, body: { kind: "stream", byteLength: receivedBytes, read: all }, ...sum };
}

/** The names of stages in W3C Server Timing, as our servers write it. */
const stageNames: ReadonlySet<string> = new Set(["queue", "transform", "run", "encode", "decode", "cache"]);

const stageMs = /^[0-9]{1,9}(?:\.[0-9]{1,9})?$/;

/** Stages of a server that tells its times beside the reply instead of within it. Never throws. */
export function readServerTiming(headers: Readonly<Record<string, string>>): readonly StageTime[] {
  const text = headers["server-timing"];
  if (text === undefined) return [];
  const stages: StageTime[] = [];
  for (const metric of text.slice(0, 1024).split(",")) {
    const mark = metric.indexOf(";dur=");
    const name = metric.slice(0, Math.max(0, mark)).trimStart();
    const value = metric.slice(mark + 5);
    // The names were looked up in the list of stages.
    if (stageNames.has(name) && stageMs.test(value))
      stages.push({ stage: name as StageTime["stage"], name: "", tookMs: Number(value) });
  }
  return stages;
}
