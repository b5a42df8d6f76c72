import { manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { seededRandom } from "../base/index.ts";
import type { Endpoint } from "../endpoint/index.ts";
import { certain, type Link } from "../estimate/index.ts";
import type { Plan } from "../plan/index.ts";
import type { KnownModel } from "./known-model.ts";
import { linkProbes } from "./link-probes.ts";
import { followPlace } from "./place.ts";

/** Bytes that a place is sent to find out about its link, of a request that is expected to take 100 ms there. */
function probed(sentBytes: number, bytesPerMs: number, objective: Plan["objective"] = "latency"): number {
  const clock = manualClock();
  const told = { observedAtMs: 0, origin: "told" } as const;
  const link: Link = {
    transferMs: (bytes) => certain(5 + bytes / bytesPerMs, told),
    roundTripMs: () => certain(10, told),
    probeBytes: () => 3000,
  };
  let sent = 0;
  // As much of an endpoint, a model and a plan as is asked.
  const endpoint = {
    info: { id: "a" },
    probe: async (bytes: number) => void (sent += bytes),
  } as unknown as Endpoint;
  const place = followPlace(endpoint, link, clock, seededRandom(1), undefined);
  const plan = {
    objective,
    legs: [{ endpoint: "a", travels: {}, predicted: { sentBytes } }],
    predicted: { completionMs: certain(100, told) },
  } as unknown as Plan;
  using probes = linkProbes(
    { clock, links: () => link },
    { looked: [place], touched: () => undefined },
    () => undefined,
  );
  const known = { here: false } as unknown as KnownModel;
  probes.consider({ known, features: { bytes: sentBytes }, plan, dueAtMs: Infinity }, 0);
  return sent;
}

it("finds out about the rates of links where all places are elsewhere, unless no rate makes a difference", () => {
  expect(probed(100_000, 1000)).toBe(3000);
  expect(probed(600, 1000)).toBe(0);
  // A link that may be that slow.
  expect(probed(600, 20)).toBe(3000);
  // Frames use places side by side.
  expect(probed(600, 1000, "throughput")).toBe(3000);
});
