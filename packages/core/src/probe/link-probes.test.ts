import { manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { LongshoreError, seededRandom } from "../base/index.ts";
import type { Endpoint } from "../endpoint/index.ts";
import { certain, type Link } from "../estimate/index.ts";
import type { Plan } from "../plan/index.ts";
import { followPlace, type KnownModel } from "../places/index.ts";
import { linkProbes } from "./link-probes.ts";

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

it("considers a place that took the name of one that is still being probed", () => {
  const clock = manualClock();
  const link: Link = {
    transferMs: () => certain(5),
    roundTripMs: () => certain(10),
    probeBytes: () => 3000,
  };
  const sent: string[] = [];
  const placeOf = (name: string) => {
    const probe = () => (sent.push(name), new Promise<void>(() => undefined));
    const endpoint = { info: { id: "a" }, probe } as unknown as Endpoint;
    return followPlace(endpoint, link, clock, seededRandom(1), undefined);
  };
  const looked = [placeOf("before")];
  const local = { info: { id: "here" } } as unknown as Endpoint;
  const places = { looked, touched: () => undefined };
  using probes = linkProbes({ clock, links: () => link, local }, places, () => undefined);
  const known = { here: false } as unknown as KnownModel;
  const plan = { objective: "throughput", legs: [] } as unknown as Plan;
  const consider = (): void =>
    probes.consider({ known, features: { bytes: 1000 }, plan, dueAtMs: Infinity }, 0);
  consider();
  looked[0] = placeOf("after");
  consider();
  consider();
  expect(sent).toEqual(["before", "after"]);
});

it("finds out about the rates of links where all places are elsewhere, unless no rate makes a difference", () => {
  expect(probed(100_000, 1000)).toBe(3000);
  expect(probed(600, 1000)).toBe(0);
  // A link that may be that slow.
  expect(probed(600, 20)).toBe(3000);
  // Frames use places side by side.
  expect(probed(600, 1000, "throughput")).toBe(3000);
});

it("does not wait for a pause where requests follow one another sooner than a train is back", () => {
  const clock = manualClock();
  let spare = 0;
  const link: Link = {
    transferMs: () => certain(50, { observedAtMs: 0, origin: "told" }),
    roundTripMs: () => certain(10, { observedAtMs: 0, origin: "told" }),
    probeBytes: (_direction, _nowMs, dueInMs = Infinity) => (dueInMs < 10 ? 0 : spare),
  };
  const sent: number[] = [];
  // As much of an endpoint, a model and a plan as is asked.
  const endpoint = {
    info: { id: "a" },
    probe: async (bytes: number) => void sent.push(bytes),
  } as unknown as Endpoint;
  const place = followPlace(endpoint, link, clock, seededRandom(1), undefined);
  const known = { here: false } as unknown as KnownModel;
  const plan = { objective: "throughput", legs: [] } as unknown as Plan;
  using probes = linkProbes(
    { clock, links: () => link, local: { info: { id: "here" } } as unknown as Endpoint },
    { looked: [place], touched: () => undefined },
    () => undefined,
  );
  const consider = (nowMs: number): void =>
    probes.consider({ known, features: { bytes: 1000 }, plan, dueAtMs: nowMs + 2 }, nowMs);
  consider(0);
  expect(sent).toEqual([]);
  spare = 3000;
  // It had nothing to spare a moment ago.
  consider(20);
  expect(sent).toEqual([]);
  consider(50);
  expect(sent).toEqual([3000]);
});

it("tells the next decision once to which places a train was sent just before, of many those that were asked first", () => {
  const clock = manualClock();
  const link: Link = {
    transferMs: () => certain(50),
    roundTripMs: () => certain(10),
    probeBytes: () => 3000,
  };
  const looked = Array.from({ length: 100 }, (_none, index) => {
    // As much of an endpoint, a model and a plan as is asked.
    const endpoint = { info: { id: `${index}` }, probe: async () => undefined } as unknown as Endpoint;
    return followPlace(endpoint, link, clock, seededRandom(1), undefined);
  });
  using probes = linkProbes(
    { clock, links: () => link },
    { looked, touched: () => undefined },
    () => undefined,
  );
  const known = { here: false } as unknown as KnownModel;
  const plan = { objective: "throughput", legs: [] } as unknown as Plan;
  const news = (nowMs: number): readonly unknown[] => [...probes.news(nowMs)];
  expect(news(0)).toEqual([]);
  probes.consider({ known, features: { bytes: 1000 }, plan, dueAtMs: Infinity }, 0);
  expect(news(60)).toEqual(looked.slice(0, 4));
  expect(news(60)).toEqual([]);
});

it("sends shorter trains to a link that was slow with one or lost it, until they are quick again", async () => {
  const clock = manualClock();
  const link: Link = {
    transferMs: () => certain(50),
    roundTripMs: () => certain(10),
    probeBytes: () => 64_000,
  };
  const sent: number[] = [];
  let tookMs = 5000;
  // As much of an endpoint, a model and a plan as is asked.
  const endpoint = {
    info: { id: "a" },
    probe: async (bytes: number) => {
      sent.push(bytes);
      if (tookMs === Infinity) throw new LongshoreError("no-answer", "transport", "it was lost");
      await new Promise<void>((resolve) => void clock.timer(tookMs, resolve));
    },
  } as unknown as Endpoint;
  const place = followPlace(endpoint, link, clock, seededRandom(1), undefined);
  using probes = linkProbes(
    { clock, links: () => link },
    { looked: [place], touched: () => undefined },
    () => undefined,
  );
  const known = { here: false } as unknown as KnownModel;
  const plan = { objective: "throughput", legs: [] } as unknown as Plan;
  for (tookMs of [5000, Infinity, 50, 50, 50, 50]) {
    probes.consider({ known, features: { bytes: 1000 }, plan, dueAtMs: Infinity }, clock.nowMs());
    await clock.advance(30_000);
  }
  expect(sent).toEqual([64_000, 16_000, 2000, 8000, 32_000, 64_000]);
});
