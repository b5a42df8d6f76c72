import { createGunzip, createInflate, gzip, type Gunzip, type Inflate } from "node:zlib";
import { LongshoreError } from "@longshore/core";

/**
 * The encodings that messages may be compressed with, as `grpc-accept-encoding` tells clients. `deflate` is zlib's format, as
 * in HTTP.
 */
export const acceptedEncodings = "identity,deflate,gzip";

function inflater(encoding: string): Gunzip | Inflate {
  if (encoding === "gzip") return createGunzip();
  if (encoding === "deflate") return createInflate();
  throw new LongshoreError(
    "unsupported",
    "transport",
    `messages are read plain, as gzip or as deflate, not as '${encoding.slice(0, 32)}'`,
  );
}

/** Checks that an encoding can be undone, before a message comes. Throws `unsupported`. */
export function checkEncoding(encoding: string): void {
  if (encoding !== "identity") inflater(encoding).destroy();
}

/**
 * Inflates a message. The output is counted as it comes, so that a bomb is stopped at the limit. Throws `body-too-large`,
 * `body-mismatch` for bytes that are not compressed, and the errors of `grew`.
 *
 * @param grew Called with the number of further bytes.
 */
export function inflate(
  bytes: Uint8Array,
  encoding: string,
  maxBytes: number,
  grew: (bytes: number) => void,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const transform = inflater(encoding);
    const chunks: Uint8Array[] = [];
    let length = 0;
    const fail = (error: Error): void => {
      transform.destroy();
      reject(error);
    };
    transform.on("data", (chunk: Uint8Array) => {
      length += chunk.byteLength;
      try {
        if (length > maxBytes) {
          throw new LongshoreError(
            "body-too-large",
            "transport",
            `the message has more than the ${maxBytes} bytes that are allowed, inflated`,
          );
        }
        grew(chunk.byteLength);
      } catch (thrown) {
        fail(LongshoreError.from(thrown, "transport", "inflating a message"));
        return;
      }
      chunks.push(chunk);
    });
    transform.on("error", (cause) =>
      fail(
        new LongshoreError("body-mismatch", "transport", `the message is not valid ${encoding}`, { cause }),
      ),
    );
    transform.on("end", () => {
      const whole = new Uint8Array(length);
      let offset = 0;
      for (const chunk of chunks) {
        whole.set(chunk, offset);
        offset += chunk.byteLength;
      }
      resolve(whole);
    });
    transform.end(bytes);
  });
}

/** Compresses a message of several parts. */
export function compress(parts: readonly Uint8Array[]): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    gzip(Buffer.concat(parts), { level: 1 }, (error, bytes) => {
      if (error) reject(error);
      else resolve(bytes);
    });
  });
}
