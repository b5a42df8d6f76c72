import type { IncomingMessage } from "node:http";
import { pipeline, Readable, type Transform } from "node:stream";
import { createGunzip, createInflate } from "node:zlib";
import { emptyBody, LongshoreError, type WireBody } from "@longshore/core";
import { brokenBody, waitingBytes } from "@longshore/core/internal";
import type { ListenOptions } from "./options.ts";

type BodyLimits = Pick<Required<ListenOptions>, "maxChunks" | "maxInflateRatio" | "inflateAllowance">;

/**
 * The chunks of a request as they come off the connection. Node.js joins them in its iterator; counting them needs its events.
 */
async function* chunksOf(request: IncomingMessage, maxChunks: number): AsyncIterable<Uint8Array> {
  const chunked = request.headers["transfer-encoding"] !== undefined;
  const waiting: Uint8Array[] = [];
  let bytes = 0;
  let count = 0;
  let over = false;
  let failed: LongshoreError | undefined;
  let wake = (): void => undefined;
  const onData = (chunk: Uint8Array): void => {
    count += 1;
    if (chunked && count > maxChunks) {
      failed = new LongshoreError(
        "body-too-large",
        "transport",
        `the body came in more than the ${maxChunks} chunks that are allowed`,
      );
      request.pause();
    } else {
      waiting.push(chunk);
      bytes += chunk.byteLength;
      if (bytes > waitingBytes) request.pause();
    }
    wake();
  };
  const onEnd = (): void => {
    over = true;
    wake();
  };
  const onClose = (): void => {
    if (!over) failed ??= brokenBody("the connection closed before the whole body had come");
    wake();
  };
  request.on("data", onData).on("end", onEnd).on("close", onClose).on("error", onClose);
  if (request.destroyed) onClose();
  try {
    for (;;) {
      if (failed) throw failed;
      const chunk = waiting.shift();
      if (chunk) {
        bytes -= chunk.byteLength;
        if (bytes <= waitingBytes && request.isPaused()) request.resume();
        yield chunk;
      } else if (over) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    request.off("data", onData).off("end", onEnd).off("close", onClose);
    // The error listener stays: a connection that breaks later must not bring the process down.
  }
}

/** The same for a body of announced length, handed over at once and freed: the receiver has memory for a copy of all of it. */
function eachChunk(
  request: IncomingMessage,
  release: (chunk: Uint8Array) => void,
  take: (chunk: Uint8Array) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const over = (): void => {
      request.off("data", onData).off("end", onEnd).off("close", onClose);
    };
    const onData = (chunk: Uint8Array): void => {
      try {
        take(chunk);
        release(chunk);
      } catch (thrown) {
        over();
        request.pause();
        reject(thrown);
      }
    };
    const onEnd = (): void => {
      over();
      resolve();
    };
    const onClose = (): void => {
      over();
      reject(brokenBody("the connection closed before the whole body had come"));
    };
    if (request.destroyed) onClose();
    else request.on("data", onData).on("end", onEnd).on("close", onClose);
  });
}

function inflater(encoding: string): Transform {
  switch (encoding) {
    case "gzip":
    case "x-gzip":
      return createGunzip();
    case "deflate":
      return createInflate();
    default:
      throw new LongshoreError(
        "unsupported",
        "transport",
        `bodies are read plain, as gzip or as deflate, not as '${encoding.slice(0, 32)}'`,
      );
  }
}

/**
 * Inflates as it comes. Output that grows too much is refused while it still arrives, so that a few kilobytes of a bomb cost no
 * more than `inflateAllowance`, whatever the limit of bodies is.
 */
async function* inflated(
  chunks: AsyncIterable<Uint8Array>,
  encoding: string,
  { maxInflateRatio, inflateAllowance }: BodyLimits,
): AsyncIterable<Uint8Array> {
  const transform = inflater(encoding);
  let came = 0;
  let grown = 0;
  async function* counted(): AsyncIterable<Uint8Array> {
    for await (const chunk of chunks) {
      came += chunk.byteLength;
      yield chunk;
    }
  }
  pipeline(Readable.from(counted(), { objectMode: false }), transform, () => undefined);
  try {
    for await (const chunk of transform as AsyncIterable<Uint8Array>) {
      grown += chunk.byteLength;
      if (grown > inflateAllowance + came * maxInflateRatio) {
        throw new LongshoreError(
          "body-too-large",
          "transport",
          `the body inflates to more than ${maxInflateRatio} times its size`,
        );
      }
      yield chunk;
    }
  } catch (thrown) {
    if (LongshoreError.is(thrown)) throw thrown;
    throw brokenBody(`the body is not valid ${encoding}`, thrown);
  } finally {
    transform.destroy();
  }
}

/**
 * The body of a request, read when the handler reads it and never before. Compressed bodies come out inflated; how far they may
 * grow is up to the reader, which knows the limits of bodies.
 *
 * @param release Frees a chunk that was copied.
 * @param begin Called before the first byte is read: a client that waits for `100 Continue` gets it then.
 */
export function requestBody(
  request: IncomingMessage,
  limits: BodyLimits,
  release: (chunk: Uint8Array) => void,
  begin: () => void,
): WireBody {
  const { headers } = request;
  const chunked = headers["transfer-encoding"] !== undefined;
  const length = headers["content-length"];
  if (!chunked && (length === undefined || length === "0")) return emptyBody;
  const encoding = (headers["content-encoding"] ?? "identity").toLowerCase();
  const plain = encoding === "identity";
  async function* read(): AsyncIterable<Uint8Array> {
    begin();
    const chunks = chunksOf(request, limits.maxChunks);
    yield* plain ? chunks : inflated(chunks, encoding, limits);
  }
  if (chunked || !plain) return { kind: "stream", byteLength: undefined, read };
  return {
    kind: "stream",
    byteLength: Number(length),
    read,
    free: release,
    each(take) {
      begin();
      return eachChunk(request, release, take);
    },
  };
}
