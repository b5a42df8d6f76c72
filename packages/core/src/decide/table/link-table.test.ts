import { expect, it } from "vitest";
import { certain, tailSize } from "../../words/estimate/index.ts";
import type { Link } from "../../wire/transport/index.ts";
import { copyTail } from "./endpoint-table.ts";
import { linkTable, sizeCount, transferSizes } from "./link-table.ts";

it("keeps what a way there takes at its slowest, between sizes, too", () => {
  const link: Link = {
    transferMs: (bytes) => ({ ...certain(5), tail: Float64Array.of(6, 7, 8, bytes) }),
    roundTripMs: () => certain(1),
  };
  const { upTail } = linkTable(link, 0);
  expect(upTail.length).toBe(sizeCount * tailSize);
  const middle = ((transferSizes[1] ?? 0) + (transferSizes[2] ?? 0)) / 2;
  const tail = new Float64Array(tailSize);
  copyTail(tail, { upTail }, 0, 1, 0.5, 1);
  expect(Array.from(tail)).toEqual([7, 8, 9, middle + 1]);
});

it("takes the last value for the tail where a link does not know it", () => {
  const { upTail } = linkTable({ transferMs: () => certain(5), roundTripMs: () => certain(1) }, 0);
  expect(Array.from(upTail.subarray(0, tailSize))).toEqual([5, 5, 5, 5]);
});
