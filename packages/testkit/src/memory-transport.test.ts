import { describe, expect, it } from "vitest";
import { readBody } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { manualClock, memoryTransport, transportContract } from "@longshore/testkit";

transportContract("memory", async (handler) => ({
  transport: memoryTransport(handler, { clock: manualClock() }),
  stop: async () => undefined,
}));

describe("memory transport", () => {
  it("takes the latency of each chunk on the clock, up and down", async () => {
    const clock = manualClock();
    const transport = memoryTransport(
      async (request) => ({
        status: 200,
        headers: {},
        body: { kind: "parts", parts: [await readBody(request.body, { maxBytes: 1000 })] },
      }),
      { clock, latency: (bytes, direction) => (direction === "up" ? bytes : 5), chunkBytes: 10 },
    );
    const request = {
      method: "POST",
      path: "/",
      headers: {},
      body: { kind: "parts", parts: [new Uint8Array(25)] },
    } as const;
    const reply = await clock.finish(transport.send(request, housekeepingCall("test")));
    expect(clock.nowMs()).toBe(30);
    await clock.finish(readBody(reply.body, { maxBytes: 1000 }));
    expect(clock.nowMs()).toBe(45);
  });
});
