import { describe, expect, it } from "vitest";
import { housekeepingCall } from "@longshore/core/internal";
import { manualClock } from "@longshore/testkit";
import type { OpenLink } from "./runner-link.ts";
import { runnerRuntime } from "./runner-runtime.ts";

/** A runtime whose runners refuse every load, and what happened in which order. */
function world(bytes: () => Promise<Uint8Array>) {
  const order: string[] = [];
  const open: OpenLink = (events) => {
    order.push("started");
    return {
      moves: false,
      send(message) {
        order.push(message.kind);
        queueMicrotask(() => events.received({ kind: "failed", reason: "invalid-model", detail: "none" }));
      },
      hold: () => undefined,
      end: async () => void order.push("ended"),
    };
  };
  const runtime = runnerRuntime({
    name: "test",
    backend: "native",
    providers: ["cpu"],
    open,
    maxOutputBytes: 1,
    restarts: false,
    limit: { clock: manualClock(), runDeadlineMs: 1000, loadDeadlineMs: 1000 },
  });
  const read = async (): Promise<Uint8Array> => {
    order.push("read");
    return bytes();
  };
  const loading = runtime.load(
    { digest: "sha256:0", byteLength: 4, bytes: read },
    {},
    housekeepingCall("load"),
  );
  return { order, loading };
}

describe("a runner", () => {
  it("is started before the file is read that it is to load, since that takes the longer the more is held", async () => {
    const { order, loading } = world(async () => new Uint8Array(4));
    await expect(loading).rejects.toMatchObject({ reason: "invalid-model" });
    expect(order).toEqual(["started", "read", "load", "release", "ended"]);
  });

  it("ends where the file cannot be read", async () => {
    const { order, loading } = world(() => Promise.reject(new Error("gone")));
    await expect(loading).rejects.toThrow("gone");
    expect(order).toEqual(["started", "read", "release", "ended"]);
  });
});
