import { describe, expect, it } from "vitest";
import { readParts } from "./read-body.ts";

/** Ten bytes that begin `shift` bytes after a multiple of 8. */
function tenBytes(shift: number): Uint8Array {
  const memory = new Uint8Array(8 + shift + 10);
  return memory.subarray(8 + shift).fill(7);
}

describe("a body that is here", () => {
  const options = { maxBytes: 100, headerLength: 3 };

  it("is not copied if it belongs to its reader and the bytes after the JSON are aligned", () => {
    const part = tenBytes(5);
    const told: number[] = [];
    const read = readParts(
      { kind: "parts", parts: [part], own: true },
      { ...options, arrived: (bytes) => void told.push(bytes) },
    );
    expect(read).toBe(part);
    expect(told).toEqual([10]);
  });

  it.each([
    ["somebody else may write to it", { kind: "parts", parts: [tenBytes(5)] }, options],
    ["it was given to be freed", { kind: "parts", parts: [tenBytes(5)], given: true }, options],
    ["tensors in it would not be aligned", { kind: "parts", parts: [tenBytes(4)], own: true }, options],
    ["room is left before it", { kind: "parts", parts: [tenBytes(5)], own: true }, { ...options, lead: 4 }],
  ] as const)("is copied where %s", (_why, body, reads) => {
    const lead = "lead" in reads ? reads.lead : 0;
    const read = readParts(body, reads);
    expect(read.buffer).not.toBe(body.parts[0].buffer);
    expect((read.byteOffset + lead + 3) % 8).toBe(0);
    expect([...read.subarray(lead)]).toEqual([...body.parts[0]]);
  });

  it("is refused above the limit, copied or not", () => {
    const body = { kind: "parts", parts: [tenBytes(5)], own: true } as const;
    expect(() => readParts(body, { ...options, maxBytes: 9 })).toThrow("more than the 9 bytes");
  });
});
