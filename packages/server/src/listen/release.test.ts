import { describe, expect, it } from "vitest";
import { keptBody } from "./release.ts";

describe("a body that is kept", () => {
  const came = Buffer.from("0123456789 and what came behind it");

  it.each(["0", "1", "7", "8", "157"])("has what follows %s bytes of JSON at a multiple of 8", (length) => {
    const kept = keptBody(came, 10, { "inference-header-content-length": length });
    expect((kept.byteOffset + Number(length)) % 8).toBe(0);
    expect(Buffer.from(kept).toString()).toBe("0123456789");
  });

  it.each(["-3", "1e400", "-Infinity", "0x", "7.5", "", "9".repeat(400)])(
    "has memory of its own whatever is said of its JSON: '%s'",
    (length) => {
      const headers = { "inference-header-content-length": length };
      const others = Array.from({ length: 20 }, () => keptBody(came, 10, headers));
      for (const [index, one] of others.entries()) one.fill(index);
      for (const [index, one] of others.entries()) expect(new Set(one)).toEqual(new Set([index]));
    },
  );
});
