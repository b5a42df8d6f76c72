import { promisify } from "node:util";
import { deflate, deflateSync, gzip } from "node:zlib";
import type { WireResponse } from "@longshore/core";
import { jsonType } from "@longshore/core/internal";

/** Bodies below this travel as they are: their packets are sent either way. */
const leastBytes = 1024;

/** Bodies above this travel as they are: compressing them would hold two copies for long. */
const mostBytes = 64 * 2 ** 20;

/** Bodies of at least this size are compressed only if a sample shrinks: most tensors are noise, and noise grows. */
const triedBytes = 65_536;
/** Size of the sample, from the middle of the largest part. */
const pieceBytes = 16_384;
/** Compress if the sample shrinks below this share of its size. */
const worthRatio = 0.9;

/** Where inferences are answered, see `wireRoutes`. */
const inferences = /\/(?:infer|generate)(?:\?|$)/;

/** The fastest level: a reply is read once. */
const options = { level: 1 } as const;

type Coding = "gzip" | "deflate";

const compress: Readonly<Record<Coding, (bytes: Uint8Array, level: typeof options) => Promise<Uint8Array>>> =
  {
    gzip: promisify(gzip),
    deflate: promisify(deflate),
  };

function isCoding(word: string): word is Coding {
  return Object.hasOwn(compress, word);
}

/** The coding that a client likes best of those there are; undefined for none. Of equals, the one that it names first. */
export function chosenCoding(accepted: string | undefined): Coding | undefined {
  let chosen: Coding | undefined;
  let most = 0;
  for (const item of (accepted ?? "").slice(0, 1024).split(",")) {
    const [name = "", ...parameters] = item
      .trim()
      .toLowerCase()
      .split(/\s*;\s*/);
    const weight = /^q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)$/.exec(parameters[0] ?? "q=1")?.[1] ?? "0";
    const coding = name === "x-gzip" || name === "*" ? "gzip" : name;
    if (isCoding(coding) && Number(weight) > most) {
      chosen = coding;
      most = Number(weight);
    }
  }
  return chosen;
}

function worthIt(parts: readonly Uint8Array[], bytes: number): boolean {
  if (bytes < leastBytes || bytes > mostBytes) return false;
  if (bytes < triedBytes) return true;
  const [largest = new Uint8Array(0)] = parts.toSorted((a, b) => b.byteLength - a.byteLength);
  const from = Math.max(0, Math.floor((largest.byteLength - pieceBytes) / 2));
  const piece = largest.subarray(from, from + pieceBytes);
  return deflateSync(piece, options).byteLength < piece.byteLength * worthRatio;
}

/**
 * The reply in a coding that the client accepts, where that makes it smaller. The length of the JSON before binary tensors
 * still counts the bytes before compression, as Triton has it. Compressing runs beside the event loop.
 */
export async function codedReply(
  reply: WireResponse,
  accepted: string | undefined,
  path: string,
): Promise<WireResponse> {
  const { body, headers } = reply;
  const coding = chosenCoding(accepted);
  // A body with a tag is compared byte by byte.
  if (!coding || body.kind !== "parts" || headers["etag"] !== undefined) return reply;
  // Triton codes answers of inference alone, and its client for asyncio, which accepts codings, undoes those of no other JSON.
  const inferred = reply.status === 200 && inferences.test(path);
  if (!inferred && headers["content-type"] === jsonType) return reply;
  const bytes = body.parts.reduce((total, part) => total + part.byteLength, 0);
  const vary = [headers["vary"], "accept-encoding"].filter(Boolean).join(", ");
  if (!worthIt(body.parts, bytes)) return { ...reply, headers: { ...headers, vary } };
  const coded = await compress[coding](Buffer.concat(body.parts), options);
  return {
    ...reply,
    headers: { ...headers, vary, "content-encoding": coding },
    body: { kind: "parts", parts: [coded] },
  };
}
