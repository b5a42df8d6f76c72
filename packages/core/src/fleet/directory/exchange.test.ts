import { crc32 } from "node:zlib";
import { virtualClock } from "@longshore/lab";
import { describe, expect, it } from "vitest";
import type { Transport } from "../../wire/transport/index.ts";
import { checksumHeader, checksumText } from "../../wire/protocol/index.ts";
import { askJson } from "./exchange.ts";

const page = new TextEncoder().encode('{"records":[{"zone":"earth/eu"}]}');

/** A server that states the checksum of a page, and sends this body. */
function server(
  body: Uint8Array,
  asked: (headers: Readonly<Record<string, string>>) => void,
  status = 200,
): Transport {
  return {
    progress: "none",
    send({ headers }) {
      asked(headers);
      return Promise.resolve({
        status,
        headers: { [checksumHeader]: checksumText(crc32(page)) },
        body: { kind: "parts", parts: [body] },
      });
    },
    close: () => Promise.resolve(),
  };
}

describe("a JSON request to a server", () => {
  const abort = new AbortController().signal;
  const clock = virtualClock();

  it("requests the checksum of the reply, and accepts one that fits", async () => {
    const seen: unknown[] = [];
    const transport = server(page, (headers) => seen.push(headers[checksumHeader]));
    await expect(
      askJson({ transport, clock, name: "registry", crc32 }, "/v2/directory", undefined, abort),
    ).resolves.toEqual({ records: [{ zone: "earth/eu" }] });
    expect(seen).toEqual(["none"]);
  });

  it("fails with checksum-mismatch where a bit of the reply was flipped", async () => {
    const flipped = page.slice();
    flipped[24]! ^= 4;
    for (const status of [200, 503]) {
      const transport = server(flipped, () => undefined, status);
      await expect(
        askJson({ transport, clock, name: "registry", crc32 }, "/v2/directory", undefined, abort),
      ).rejects.toMatchObject({ reason: "checksum-mismatch" });
    }
  });
});
