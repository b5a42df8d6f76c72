import { expect, it } from "vitest";
import { tcpSlowStartMs } from "./tcp-slow-start.ts";

it("charges a round trip, less the sending, for each window that does not fill the link", () => {
  // 2,500 bytes a millisecond, 50 ms: windows of 14,600, 29,200 and 58,400 bytes are sent in 5.84, 11.68 and 23.36 ms.
  expect(tcpSlowStartMs(150_000, 50, 2500)).toBeCloseTo(150 - 5.84 - 11.68 - 23.36, 6);
  // The next window would be 116,800 bytes, which takes 46.72 ms.
  expect(tcpSlowStartMs(600_000, 50, 2500)).toBeCloseTo(200 - 5.84 - 11.68 - 23.36 - 46.72, 6);
});

it("charges less after a short pause, as the window is halved once in each time-out", () => {
  // The link holds 125,000 bytes in a round trip; a time-out is 250 ms.
  expect(tcpSlowStartMs(600_000, 50, 2500, 200)).toBe(0);
  expect(tcpSlowStartMs(600_000, 50, 2500, 300)).toBeCloseTo(50 - 25, 6);
  expect(tcpSlowStartMs(600_000, 50, 2500, 600)).toBeCloseTo(50 - 12.5 + 50 - 25, 6);
  expect(tcpSlowStartMs(600_000, 50, 2500, 60_000)).toBe(tcpSlowStartMs(600_000, 50, 2500));
});

it("charges nothing for what fits in the first window, on a link that a window fills, or without a round trip", () => {
  expect(tcpSlowStartMs(14_600, 50, 2500)).toBe(0);
  expect(tcpSlowStartMs(600_000, 50, 100)).toBe(0);
  expect(tcpSlowStartMs(600_000, 0, 2500)).toBe(0);
});
