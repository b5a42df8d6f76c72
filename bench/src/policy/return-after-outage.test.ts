import { expect, it } from "vitest";
import { returnAfterOutageMs } from "./return-after-outage.ts";

it.each([1000, 4000, 20_000])(
  "sends again within a second of the end of an outage of %i ms, wherever that falls between two requests",
  async (outageMs) => {
    const link = { bitsPerSecond: 5e6, requestBytes: 20_000, localMs: 400, roundTripMs: 50, everyMs: 500 };
    for (const phaseMs of [0, 330])
      expect(await returnAfterOutageMs({ ...link, outageMs, phaseMs })).toBeLessThanOrEqual(500);
  },
  60_000,
);
