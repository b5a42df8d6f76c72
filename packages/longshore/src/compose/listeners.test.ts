import { afterEach, describe, expect, it } from "vitest";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { defaultWireLimits, emptyBody, type Handler, silentObserver } from "@longshore/core";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { type Listeners, openListeners } from "./listeners.ts";

const handler: Handler = async () => ({ status: 200, headers: {}, body: emptyBody });
const open: { close(): unknown }[] = [];

afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

async function opened(port: number, notes: string[]): Promise<Listeners> {
  const listeners = await openListeners(
    handler,
    { port, grpcPort: "next" },
    {
      clock: systemClock(),
      random: systemRandom(),
      observer: silentObserver,
      limits: defaultWireLimits,
      maxBufferedBytes: 2 ** 30,
      report: (text) => notes.push(text),
    },
  );
  open.push({ close: () => listeners.close(0) });
  return listeners;
}

/** A free port whose follower is free, too, at least at this instant. */
async function pair(): Promise<number> {
  const hold = async (port: number): Promise<ReturnType<typeof createServer>> => {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: "127.0.0.1", port }, resolve);
    });
    return server;
  };
  for (;;) {
    const first = await hold(0);
    const { port } = first.address() as AddressInfo;
    const second = await hold(port + 1).catch(() => undefined);
    for (const one of [first, second])
      await new Promise<void>((end) => (one ? one.close(() => end()) : end()));
    if (second) return port;
  }
}

describe("two servers on neighbouring ports", () => {
  it("get along: the lower one that comes second goes without gRPC and says so", async () => {
    const port = await pair();
    const notes: string[] = [];
    await opened(port + 1, notes);
    const second = await opened(port, notes);
    expect(second.address).toBe(`http://127.0.0.1:${port}`);
    expect(second.grpcAddress).toBeUndefined();
    expect(notes).toEqual([expect.stringContaining(`port ${port + 1} on 127.0.0.1 is taken`)]);
    expect(notes[0]).toContain("--grpc-port");
  });

  it("learn which one has the port when the higher one comes second", async () => {
    const port = await pair();
    const first = await opened(port, []);
    expect(first.grpcAddress).toBe(`127.0.0.1:${port + 1}`);
    await expect(opened(port + 1, [])).rejects.toMatchObject({
      reason: "port-taken",
      message: expect.stringContaining(`server on port ${port} would have it for gRPC`),
    });
  });
});
