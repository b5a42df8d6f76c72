import { describe, expect, it } from "vitest";
import { releaser } from "./release.ts";

describe("memory without readers", () => {
  it("is freed at once when it is large and a whole of its own", () => {
    const release = releaser();
    const whole = new Uint8Array(20_000);
    release(whole);
    expect(whole.byteLength).toBe(0);
  });

  it("is left to the collector when it is small, a part of something larger, or shared", () => {
    const release = releaser();
    const small = new Uint8Array(100);
    const part = new Uint8Array(40_000).subarray(0, 20_000);
    const shared = new Uint8Array(new SharedArrayBuffer(20_000));
    for (const one of [small, part, shared]) release(one);
    expect([small, part, shared].map(({ byteLength }) => byteLength)).toEqual([100, 20_000, 20_000]);
  });
});
