import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bodyCheck,
  checksumHeader,
  checksumText,
  crc32Of,
  createTableCrc32,
  noChecksum,
} from "./checksum.ts";

const tableCrc32 = createTableCrc32();

describe("createTableCrc32", () => {
  it("gives the CRC-32 that zlib gives, in any pieces", () => {
    expect(checksumText(tableCrc32(new TextEncoder().encode("123456789")))).toBe("cbf43926");
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 5 }), (parts) => {
        expect(crc32Of(parts, tableCrc32)).toBe(crc32(Buffer.concat(parts)));
      }),
    );
  });
});

describe("bodyCheck", () => {
  const bytes = new Uint8Array(100).fill(7);
  const headers = { [checksumHeader]: checksumText(crc32(bytes)) };

  it("finds every flipped bit", () => {
    for (let bit = 0; bit < 800; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const check = bodyCheck(headers, "the reply", tableCrc32);
      check?.add(flipped.subarray(0, 33));
      check?.add(flipped.subarray(33));
      expect(() => check?.finish()).toThrow(
        expect.objectContaining({ reason: "checksum-mismatch", retryable: true }) as Error,
      );
    }
  });

  it("lets whole bodies pass, and those whose sender stated no checksum", () => {
    const check = bodyCheck(headers, "the reply", tableCrc32);
    check?.add(bytes);
    check?.finish();
    expect(check?.crc32).toBe(crc32(bytes));
    expect(bodyCheck({}, "the reply", tableCrc32)).toBeUndefined();
    expect(bodyCheck({ [checksumHeader]: noChecksum }, "the reply", tableCrc32)).toBeUndefined();
  });

  it("takes a header that no sender writes for damage", () => {
    for (const stated of ["", "1234567", "0123456g", "CBF43926", "nonf"]) {
      expect(() => bodyCheck({ [checksumHeader]: stated }, "the reply", tableCrc32)).toThrow(
        expect.objectContaining({ reason: "checksum-mismatch" }) as Error,
      );
    }
  });
});
