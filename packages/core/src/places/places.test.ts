import { doubleEndpoint, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { LongshoreError, type Reason, seededRandom, silentObserver } from "../base/index.ts";
import { certain, type Link } from "../estimate/index.ts";
import { disowned } from "./disowned.ts";
import type { KnownModel } from "./known-model.ts";
import { nothingKnown } from "./nothing-known.ts";
import { followPlaces } from "./places.ts";

/** What a device knows of one other place. */
function placesWith(id: string, link?: Link) {
  const parts = {
    endpoints: [doubleEndpoint([], { id })],
    clock: manualClock(),
    random: seededRandom(1),
    observer: silentObserver,
    links: () => link,
  };
  const places = followPlaces(parts, "device");
  return { places, place: places.all.get(id)! };
}

const ran = { model: "find", version: "1", digest: "sha256:1" };

it.each(["queue-full", "runtime-crashed", "internal"] as const)(
  "holds %s against who failed, and not against the place that was asked where that is another",
  (reason: Reason) => {
    const { places, place } = placesWith("there");
    const failed = (endpoint?: string): void => {
      const error = new LongshoreError(
        reason,
        "execute",
        "made up",
        endpoint === undefined ? {} : { endpoint },
      );
      places.failed(place, ran, error, 0, 0, "acme");
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

it("leaves a gateway that knows who asks alone no more than before when it is let in nowhere itself", () => {
  const { places, place } = placesWith("gateway");
  const refused = new LongshoreError("unauthenticated", "identify", "made up");
  const unsaid = new Map([["behind", refused]]);
  const questioned = { model: "find", version: undefined, heard: new Map(), unsaid };
  const told = nothingKnown(questioned, { all: new Map([["behind", {}]]) }, ["device"], true);
  expect(told.reason).toBe("unauthenticated");
  places.failed(place, undefined, told, 0, 0);
  expect(place.health.unavailable(1)).toBeUndefined();
  places.failed(place, undefined, refused, 0, 0);
  expect(place.health.unavailable(1)).toContain("unauthenticated");
});

it("has decisions read what is believed of the way to a place that has said something for the first time", () => {
  let tookMs = 60;
  const link: Link = { transferMs: () => certain(tookMs), roundTripMs: () => certain(2 * tookMs) };
  const { places, place } = placesWith("there", link);
  const description = { name: ran.model, version: ran.version, digest: ran.digest };
  const known = { description, offersBy: new Map() } as unknown as KnownModel;
  expect(places.table(known, "local", 0).up[0]).toBe(60);
  tookMs = 1;
  place.promised([], 5, true);
  places.touched();
  expect(places.table(known, "local", 5).up[0]).toBe(1);
});
