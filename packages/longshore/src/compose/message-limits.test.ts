import { defaultWireLimits } from "@longshore/core";
import { expect, it } from "vitest";
import { messageLimits } from "./message-limits.ts";

it("a server that takes bodies of 2 GiB takes a tensor that fills one, and two of them at a time, with their kept bytes", () => {
  const most = 2 ** 31 - 1;
  expect(messageLimits(most)).toEqual({
    limits: { ...defaultWireLimits, maxBodyBytes: most, maxTensorBytes: most },
    maxBufferedBytes: 2 * (most + 2 ** 24),
    maxKeptBytes: 2 ** 24,
  });
  expect(messageLimits(most, 0).maxBufferedBytes).toBe(2 * most);
  expect(messageLimits(most, Infinity).maxBufferedBytes).toBe(4 * most);
});

it("smaller bodies leave the other limits as they are", () => {
  for (const bytes of [undefined, 1000, 2 ** 28]) {
    const { limits, maxBufferedBytes } = messageLimits(bytes);
    expect([limits.maxTensorBytes, maxBufferedBytes]).toEqual([defaultWireLimits.maxTensorBytes, 2 ** 30]);
  }
});
