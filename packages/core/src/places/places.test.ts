import { doubleEndpoint, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { LongshoreError, type Reason, seededRandom, silentObserver } from "../base/index.ts";
import { disowned } from "./disowned.ts";
import { followPlaces } from "./places.ts";

const ran = { model: "find", version: "1", digest: "sha256:1" };

it.each(["queue-full", "runtime-crashed", "internal"] as const)(
  "holds %s against who failed, and not against the place that was asked where that is another",
  (reason: Reason) => {
    const parts = {
      endpoints: [doubleEndpoint([], { id: "there" })],
      clock: manualClock(),
      random: seededRandom(1),
      observer: silentObserver,
      links: () => undefined,
    };
    const places = followPlaces(parts, "device");
    const place = places.all.get("there")!;
    const failed = (endpoint?: string): void => {
      const error = new LongshoreError(
        reason,
        "execute",
        "made up",
        endpoint === undefined ? {} : { endpoint },
      );
      places.failed(place, ran, error, 0, 0);
    };
    failed("device");
    expect([place.health.unavailable(1), places.pausedUntilMs(place, ran)]).toEqual([undefined, -Infinity]);
    failed();
    expect(places.pausedUntilMs(place, ran)).toBeGreaterThan(1);
  },
);

it("takes no model away from a place for what another one says that it has not", () => {
  const missing = (options = {}): LongshoreError =>
    new LongshoreError("unknown-version", "resolve", "made up", options);
  expect(disowned(missing(), false)).toBe(true);
  expect(disowned(missing({ endpoint: "device" }), true)).toBe(false);
});
