import type { LongshoreError, WireBody } from "@longshore/core";
import { chunksOf } from "@longshore/core/internal";

/** Chunks on their way from a connection to their reader. */
export interface ByteStream {
  push(chunk: Uint8Array): void;
  end(): void;
  fail(error: LongshoreError): void;
  /** Can be read once. */
  read(): AsyncIterable<Uint8Array>;
}

/** @param left Called when the reader stops before the end. */
export function byteStream(left: () => void = () => undefined): ByteStream {
  const waiting: Uint8Array[] = [];
  let over = false;
  let failed: LongshoreError | undefined;
  let wake = (): void => undefined;
  return {
    push(chunk) {
      waiting.push(chunk);
      wake();
    },
    end() {
      over = true;
      wake();
    },
    fail(error) {
      failed ??= error;
      wake();
    },
    async *read() {
      let ended = false;
      try {
        for (;;) {
          const chunk = waiting.shift();
          if (chunk) {
            yield chunk;
          } else if (failed) {
            ended = true;
            throw failed;
          } else if (over) {
            ended = true;
            return;
          } else {
            await new Promise<void>((resolve) => (wake = resolve));
          }
        }
      } finally {
        if (!ended) left();
      }
    },
  };
}

/** Bytes of a piece that crosses at once. */
const chunkBytes = 16_384;

/** A body in pieces that cross at once. */
export async function* pieces(body: WireBody): AsyncIterable<Uint8Array> {
  for await (const part of chunksOf(body)) {
    for (let offset = 0; offset < part.byteLength; offset += chunkBytes) {
      yield part.subarray(offset, offset + chunkBytes);
    }
  }
}

/** All parts as one. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.byteLength;
  }
  return all;
}

/** Reads a body that no receiver gets. */
export async function drained(body: WireBody): Promise<void> {
  if (body.kind === "parts") return;
  for await (const _ of body.read());
}
