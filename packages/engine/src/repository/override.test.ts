import { manualClock, memoryStore } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { overridden } from "./override.ts";

describe("files that come with a load", () => {
  const megabytes = 16;
  const file = Uint8Array.from({ length: megabytes * 2 ** 20 }, (_, index) => index % 251);

  it("are copied in steps for each reader, and give other work its turn between", async () => {
    const clock = manualClock();
    const files = new Map([["1/model.onnx", file]]);
    const store = overridden(memoryStore({}), "fresh", { config: "{}", files }, clock);
    const read = await clock.finish(store.read("fresh/1/model.onnx"));
    expect(Buffer.compare(read!, file)).toBe(0);
    expect(read!.buffer).not.toBe(file.buffer);
    expect(clock.timersSet()).toBeGreaterThanOrEqual(megabytes / 2 - 1);
  });
});
