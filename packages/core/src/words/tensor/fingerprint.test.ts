import { describe, expect, it } from "vitest";
import { fingerprint } from "./fingerprint.ts";
import { float32Tensor } from "./views.ts";
import { tensorsOf } from "./tensor.ts";

describe("fingerprints", () => {
  it("distinguish inputs, shapes, names and parameters, and not their order", () => {
    const a = float32Tensor("a", [2], Float32Array.of(1, 2));
    const b = float32Tensor("b", [1, 2], Float32Array.of(1, 2));
    const prints = [
      fingerprint("start..end", tensorsOf(a)),
      fingerprint("start..c1", tensorsOf(a)),
      fingerprint("start..end", tensorsOf(b)),
      fingerprint("start..end", tensorsOf(a, b)),
      fingerprint("start..end", tensorsOf(float32Tensor("a", [2], Float32Array.of(1, 3)))),
    ];
    expect(fingerprint("start..end", tensorsOf(a), 7)).toBeUndefined();
    expect(new Set(prints).size).toBe(prints.length);
    expect(fingerprint("x", tensorsOf(a, b))).toBe(fingerprint("x", tensorsOf(b, a)));
  });
});
