import {
  doubleDescription,
  doubleEndpoint,
  doubleInfo,
  doubleOffer,
  type ManualClock,
  manualClock,
  testLeg,
  testPlan,
  testPredicted,
  testTravels,
} from "@longshore/testkit";
import { expect, it } from "vitest";
import { abortError, type Call, LongshoreError, seededRandom, whenAborted } from "../../words/base/index.ts";
import type { Endpoint, EndpointCapabilities } from "../../wire/endpoint/index.ts";
import { certain } from "../../words/estimate/index.ts";
import type { Link } from "../../wire/transport/index.ts";
import type { Plan } from "../../decide/plan/index.ts";
import { followEndpoint, type EndpointState } from "../endpoints/index.ts";
import { deviceSpeed } from "../../decide/estimate/index.ts";
import { type KnownModel, knowModel } from "../models/index.ts";
import { type ExpectedRequest, type LinkProbes, linkProbes } from "./link-probes.ts";

const told = { observedAtMs: 0, origin: "told" } as const;
const local: Endpoint = doubleEndpoint([], { id: "here" });

/** A model that only another endpoint has. */
function knownElsewhere(): KnownModel {
  const description = doubleDescription({ name: "m" });
  const report = {
    endpoint: doubleEndpoint([], { id: "elsewhere" }),
    knowledge: { description },
    offers: [doubleOffer(description, { ...doubleInfo, id: "elsewhere" }, 10)],
  };
  const known = knowModel(undefined, [report], undefined, deviceSpeed(), 0);
  if (!known) throw new Error("the model is not known");
  return known;
}

/** An endpoint that can be probed. */
function probeable(id: string, probe: NonNullable<EndpointCapabilities["probe"]>): Endpoint {
  return { ...doubleEndpoint([], { id }), capabilities: { probe } };
}

/** A link 10 ms long that may be sent so many bytes to find out about it. */
function linkOf(transferMs: number, probeBytes: number): Link {
  return {
    transferMs: () => certain(transferMs, told),
    roundTripMs: () => certain(10, told),
    probeBytes: () => probeBytes,
  };
}

/** The state of an endpoint that can be probed. */
function endpointAt(
  clock: ManualClock,
  link: Link,
  probe: (bytes: number) => unknown,
  id = "a",
): EndpointState {
  const endpoint = probeable(id, async (bytes) => {
    await probe(bytes);
    return undefined;
  });
  return followEndpoint(endpoint, link, clock, seededRandom(1), undefined);
}

function probesOf(
  clock: ManualClock,
  link: Link,
  looked: readonly EndpointState[],
  local?: Endpoint,
): LinkProbes {
  const parts = { clock, links: () => link, ...(local ? { local } : {}) };
  return linkProbes(parts, { looked, touched: () => undefined }, () => undefined);
}

/** A frame, which uses endpoints side by side. */
function frame(dueAtMs = Infinity): ExpectedRequest {
  const plan = testPlan([], { objective: "throughput" });
  return { known: knownElsewhere(), features: { bytes: 1000 }, plan, lost: [], dueAtMs };
}

/** Bytes that an endpoint is sent to find out about its link, of a request that is expected to take 100 ms there. */
function probed(sentBytes: number, bytesPerMs: number, objective: Plan["objective"] = "latency"): number {
  const clock = manualClock();
  const link: Link = {
    ...linkOf(0, 3000),
    transferMs: (bytes) => certain(5 + bytes / bytesPerMs, told),
  };
  let sent = 0;
  const endpointState = endpointAt(clock, link, (bytes) => (sent += bytes));
  const leg = testLeg({ endpoint: "a", travels: testTravels, predicted: { ...testPredicted, sentBytes } });
  const plan = testPlan([leg], {
    objective,
    predicted: { ...testPredicted, completionMs: certain(100, told) },
  });
  using probes = probesOf(clock, link, [endpointState]);
  probes.consider({ ...frame(), features: { bytes: sentBytes }, plan }, 0);
  return sent;
}

it("considers an endpoint that took the name of one that is still being probed", () => {
  const clock = manualClock();
  const link = linkOf(5, 3000);
  const sent: string[] = [];
  const endpointOf = (name: string): EndpointState =>
    endpointAt(clock, link, () => (sent.push(name), new Promise<void>(() => undefined)));
  const looked = [endpointOf("before")];
  using probes = probesOf(clock, link, looked, local);
  const consider = (): void => probes.consider(frame(), 0);
  consider();
  looked[0] = endpointOf("after");
  consider();
  consider();
  expect(sent).toEqual(["before", "after"]);
});

it("finds out about the rates of links where all endpoints are elsewhere, unless no rate makes a difference", () => {
  expect(probed(100_000, 1000)).toBe(3000);
  expect(probed(600, 1000)).toBe(0);
  // A link that may be that slow.
  expect(probed(2000, 20)).toBe(3000);
  // One packet takes as long as any poll there.
  expect(probed(1400, 20)).toBe(0);
  // Frames use endpoints side by side.
  expect(probed(600, 1000, "throughput")).toBe(3000);
});

it("lets only some of many refused requests have links considered", () => {
  const clock = manualClock();
  using probes = probesOf(clock, linkOf(5, 3000), []);
  const instants = Array.from({ length: 100 }, (_none, index) => 10 * index);
  expect(instants.filter((nowMs) => probes.refused(nowMs))).toEqual([0, 200, 400, 600, 800]);
});

it("does not wait for a pause where requests follow one another sooner than a train is back", () => {
  const clock = manualClock();
  let spare = 0;
  const link: Link = {
    ...linkOf(50, 0),
    probeBytes: (_direction, _nowMs, dueInMs = Infinity) => (dueInMs < 10 ? 0 : spare),
  };
  const sent: number[] = [];
  const endpointState = endpointAt(clock, link, (bytes) => sent.push(bytes));
  using probes = probesOf(clock, link, [endpointState], local);
  const consider = (nowMs: number): void => probes.consider(frame(nowMs + 2), nowMs);
  consider(0);
  expect(sent).toEqual([]);
  spare = 3000;
  // It had nothing to spare a moment ago.
  consider(20);
  expect(sent).toEqual([]);
  consider(50);
  expect(sent).toEqual([3000]);
});

it("tells the next decision once to which endpoints a packet train was just sent, of many the first ones", () => {
  const clock = manualClock();
  const link = linkOf(50, 3000);
  const looked = Array.from({ length: 100 }, (_none, index) =>
    endpointAt(clock, link, () => undefined, `${index}`),
  );
  using probes = probesOf(clock, link, looked);
  const news = (nowMs: number): readonly unknown[] => [...probes.news(nowMs)];
  expect(news(0)).toEqual([]);
  probes.consider(frame(), 0);
  expect(news(60)).toEqual(looked.slice(0, 4));
  expect(news(60)).toEqual([]);
});

it("tells the next decision of endpoints where a request was given up just before, which may still be passing", () => {
  const clock = manualClock();
  const link = linkOf(50, 0);
  const looked = ["a", "b"].map((id) => endpointAt(clock, link, () => undefined, id));
  using probes = probesOf(clock, link, looked);
  const newsOf = (atMs: number, laterMs: number): readonly unknown[] => {
    probes.consider({ ...frame(), lost: [{ endpoint: "b" }, { endpoint: "here" }] }, atMs);
    return [...probes.news(atMs + laterMs)];
  };
  expect(newsOf(0, 60)).toEqual([looked[1]]);
  // It has passed by then, and writing down takes time: not after each of many.
  expect(newsOf(1000, 500)).toEqual([]);
  expect(newsOf(2000, 10)).toEqual([looked[1]]);
  expect(newsOf(2010, 10)).toEqual([]);
});

it("sends shorter trains to a link that was slow with one or lost it, until they are quick again", async () => {
  const clock = manualClock();
  const link = linkOf(50, 64_000);
  const sent: number[] = [];
  let tookMs = 5000;
  const endpointState = endpointAt(clock, link, (bytes) => {
    sent.push(bytes);
    if (tookMs === Infinity) throw new LongshoreError("no-answer", "transport", "it was lost");
    return new Promise<void>((resolve) => void clock.timer(tookMs, resolve));
  });
  using probes = probesOf(clock, link, [endpointState]);
  for (tookMs of [5000, Infinity, 50, 50, 50, 50]) {
    probes.consider(frame(), clock.nowMs());
    await clock.advance(30_000);
  }
  expect(sent).toEqual([64_000, 16_000, 2000, 8000, 32_000, 64_000]);
});

it("sends another train where one is stuck and other things are answered, once its link does not wait for it any more", async () => {
  const clock = manualClock();
  let spare = 3000;
  const link: Link = { ...linkOf(50, 0), probeBytes: () => spare };
  const events: string[] = [];
  const probe = (_bytes: number, { abort }: Call): Promise<never> => {
    events.push("sent");
    return new Promise((_resolve, reject) => {
      whenAborted(abort, () => {
        events.push(abortError(abort, "transport").reason);
        reject(abortError(abort, "transport"));
      });
    });
  };
  const endpointState = followEndpoint(probeable("a", probe), link, clock, seededRandom(1), undefined);
  using probes = probesOf(clock, link, [endpointState]);
  const later = async (answered: boolean): Promise<readonly string[]> => {
    await clock.advance(1500);
    if (answered) endpointState.outcomes.answered(clock.nowMs());
    probes.consider(frame(), clock.nowMs());
    await clock.advance(0);
    return events.splice(0);
  };
  expect(await later(true)).toEqual(["sent"]);
  expect(await later(false)).toEqual([]);
  // Its link still has the first one to carry.
  spare = 0;
  expect(await later(true)).toEqual([]);
  spare = 3000;
  expect(await later(false)).toEqual(["no-answer", "sent"]);
  // The second one is waited for like the first.
  expect(await later(false)).toEqual([]);
  expect(await later(true)).toEqual(["no-answer", "sent"]);
});

it("probes a silent link with single packets, and measures its rate at once when one is answered", async () => {
  const clock = manualClock();
  const link = linkOf(50, 3000);
  const sent: (readonly [number, number])[] = [];
  const state = { silent: true };
  const endpointState = endpointAt(clock, link, async (bytes) => {
    sent.push([clock.nowMs(), bytes]);
    while (state.silent) await new Promise<void>((resolve) => void clock.timer(10, resolve));
  });
  using probes = probesOf(clock, link, [endpointState], local);
  let expected = true;
  const due = () => ({ soonestMs: Infinity, rhythm: false, expected });
  const consider = (): void => probes.consider({ ...frame(), due }, clock.nowMs());
  consider();
  await clock.advance(1000);
  expect(sent).toEqual([[0, 3000]]);
  // The next request finds it silent.
  consider();
  await clock.advance(900);
  expect(sent.splice(1)).toEqual([1000, 1400, 1800].map((atMs) => [atMs, 1]));
  state.silent = false;
  await clock.advance(20);
  expect(sent.splice(1)).toEqual([[1910, 3000]]);
  await clock.advance(5000);
  expect(sent).toEqual([[0, 3000]]);
  // A silent endpoint is not polled while no request is expected.
  state.silent = true;
  consider();
  await clock.advance(1000);
  expected = false;
  consider();
  await clock.advance(5000);
  expect(sent.filter(([, bytes]) => bytes === 1)).toEqual([]);
});
