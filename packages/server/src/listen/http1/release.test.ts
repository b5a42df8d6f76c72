import { once } from "node:events";
import { connect } from "node:net";
import { memoryUsage } from "node:process";
import { readBody, seededRandom, type WireResponse } from "@longshore/core";
import { readMemoryBytes } from "@longshore/core/internal";
import { manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { on } from "../../../test/on-port.ts";
import { listen } from "../listen.ts";
import { alignedCopy } from "./release.ts";

describe("memory without readers", () => {
  it("is that of long bodies as they come and of sent replies, which keep their content", async () => {
    const replies: Uint8Array[] = [];
    const listening = await listen(
      async ({ body }): Promise<WireResponse> => {
        const bytes = new Uint8Array(await readBody(body, { maxBytes: 2 ** 22 }));
        replies.push(bytes);
        return { status: 200, headers: {}, body: { kind: "parts", parts: [bytes], given: true } };
      },
      { clock: manualClock(), random: seededRandom(1), port: 0 },
    );
    try {
      for (const value of [1, 2, 3]) {
        const sent = new Uint8Array(2 ** 21).fill(value);
        const headers = { "accept-encoding": "identity" };
        const reply = await fetch(listening.address, { method: "POST", body: sent, headers });
        const came = new Uint8Array(await reply.arrayBuffer());
        expect(came.byteLength).toBe(sent.byteLength);
        expect(came.every((byte) => byte === value)).toBe(true);
      }
    } finally {
      await listening.close();
    }
    expect(replies.map(({ byteLength }) => byteLength)).toEqual([0, 0, 0]);
  });

  it("is that of a body as far as it was read before its refusal, and while that was written", async () => {
    const { port } = await on(
      async () => ({ status: 503, headers: {}, body: { kind: "parts", parts: [] } }),
      {
        lingerBytes: 2 ** 24,
      },
    );
    const head = (length: number): string =>
      `POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: ${length}\r\n\r\n`;
    const body = Buffer.alloc(16 * readMemoryBytes);
    const requests = Buffer.concat([Buffer.from(head(body.byteLength)), body, Buffer.from(head(0))]);
    const refuse = async (): Promise<void> => {
      const socket = connect(port, "127.0.0.1");
      let heard = "";
      const refused = new Promise<void>((resolve) => {
        // The second is refused once all of the first is here.
        socket.on("data", (chunk) => {
          heard += chunk.toString("latin1");
          if (heard.split("HTTP/1.1 503").length === 3) resolve();
        });
      });
      socket.write(requests);
      await refused;
      socket.destroy();
      await once(socket, "close");
    };
    // The port keeps the memory of the first for the others.
    await refuse();
    const before = memoryUsage().arrayBuffers;
    const count = 32;
    for (let time = 0; time < count; time++) await refuse();
    // Each begins in a piece of its own, as long as a read.
    expect(memoryUsage().arrayBuffers - before).toBeLessThan((count / 2) * readMemoryBytes);
  });
});

describe("a body that is kept", () => {
  const came = Buffer.from("0123456789 and what came behind it");

  it.each(["0", "1", "7", "8", "157"])(
    "has the bytes after %s bytes of JSON at a multiple of 8",
    (length) => {
      const kept = alignedCopy(came, 10, { "inference-header-content-length": length });
      expect((kept.byteOffset + Number(length)) % 8).toBe(0);
      expect(Buffer.from(kept).toString()).toBe("0123456789");
    },
  );

  it.each(["-3", "1e400", "-Infinity", "0x", "7.5", "", "9".repeat(400)])(
    "has memory of its own for any length of its JSON: '%s'",
    (length) => {
      const headers = { "inference-header-content-length": length };
      const others = Array.from({ length: 20 }, () => alignedCopy(came, 10, headers));
      for (const [index, one] of others.entries()) one.fill(index);
      for (const [index, one] of others.entries()) expect(new Set(one)).toEqual(new Set([index]));
    },
  );
});
