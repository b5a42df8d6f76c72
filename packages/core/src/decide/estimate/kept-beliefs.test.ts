import { manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { deviceSpeed } from "./device-speed.ts";
import { beliefsFrom, type BeliefState, KeptBeliefs } from "./kept-beliefs.ts";
import { linkBelief } from "./link-belief.ts";
import { linkModel } from "./rate-model.ts";

const model = linkModel();
const dayMs = 86_400_000;

/** A link of that rate that was used for ten seconds. */
function usedLink(bitsPerSecond: number) {
  const link = linkBelief({ model });
  let nowMs = 0;
  for (let body = 0; body < 40; body++) {
    const note = link.sendStarted(30_000, "up", nowMs);
    for (let sent = 3000; sent <= 30_000; sent += 3000) {
      nowMs += (3000 * 8000) / bitsPerSecond;
      note.progressed(sent, nowMs + 40);
    }
    note.ended(nowMs + 40, true);
    nowMs += 200;
  }
  return { link, nowMs };
}

const usualMs = (bytes: number, ageMs?: number, bitsPerSecond = 40e6): number => {
  const { link, nowMs } = usedLink(bitsPerSecond);
  const memory = link.remember(nowMs);
  const next = linkBelief({ model, ...(memory && ageMs !== undefined ? { memory: { memory, ageMs } } : {}) });
  return next.transferMs(bytes, "up", 0).values[8] ?? NaN;
};

describe("a remembered link", () => {
  it("is believed to be about as quick as it was, and the less so the older the memory is", () => {
    const [fresh, old, none] = [usualMs(600_000, 0), usualMs(600_000, 3 * dayMs), usualMs(600_000)];
    expect(fresh).toBeGreaterThan(80);
    expect(fresh).toBeLessThan(250);
    expect(none).toBeGreaterThan(2 * fresh);
    expect(Math.abs(old / none - 1)).toBeLessThan(0.2);
  });

  it("is nothing where too little was seen", () => {
    expect(linkBelief({ model }).remember(0)).toBeUndefined();
  });
});

it("a remembered speed of this device is where a model starts that it was of, then another one of the same machine", () => {
  const first = deviceSpeed();
  const speed = first.follow("xeon", "model a");
  for (let run = 0; run < 20; run++) speed.seen(300, 100, run);
  const remembered = first.remember().map((one) => ({ ...one, ageMs: 0 }));
  expect(remembered).toEqual([{ reference: "xeon", kin: "model a", ratio: expect.closeTo(3, 5), ageMs: 0 }]);
  const next = deviceSpeed({}, remembered);
  expect(next.follow("xeon", "model a").mean()).toBeCloseTo(3);
  expect(next.follow("xeon", "model b").mean()).toBeCloseTo(3);
  expect(next.follow("arm", "model c").mean()).toBeCloseTo(1);
  const old = deviceSpeed(
    {},
    remembered.map((one) => ({ ...one, ageMs: 70 * dayMs })),
  );
  expect(old.follow("xeon", "model a").mean()).toBeCloseTo(1, 1);
});

describe("kept beliefs", () => {
  const clock = manualClock();
  const nowMs = clock.wallMs();
  const before: BeliefState = {
    schemaVersion: 1,
    links: { "a http://a": { roundTripMs: 20, seenMs: nowMs - 1000 } },
    servers: { a: { ratio: 2, seenMs: nowMs - 31 * dayMs } },
    speeds: [{ reference: "r", kin: "k", ratio: 2, seenMs: nowMs - 500 }],
  };

  it("are given back with their age, and written with what is known now, without what nobody saw for a month", () => {
    const kept = new KeptBeliefs(clock, beliefsFrom(JSON.parse(JSON.stringify(before)), nowMs));
    expect(kept.link("a http://a")).toMatchObject({ memory: { roundTripMs: 20 }, ageMs: 1000 });
    expect(kept.link("__proto__")).toBeUndefined();
    expect(kept.server("a")?.ageMs).toBe(31 * dayMs);
    kept.follow(() => ({ links: new Map([["b http://b", { roundTripMs: 7 }]]) }));
    const others = { ...before, servers: { c: { ratio: 3, seenMs: nowMs } }, links: {}, speeds: [] };
    expect(kept.state(others)).toEqual({
      schemaVersion: 1,
      links: { "b http://b": { roundTripMs: 7, seenMs: nowMs }, "a http://a": before.links["a http://a"] },
      servers: { c: { ratio: 3, seenMs: nowMs } },
      speeds: before.speeds,
    });
  });

  it.each([
    [{ ...before, schemaVersion: 2 }, "schemaVersion"],
    [{ ...before, links: { a: { roundTripMs: -1, seenMs: 0 } } }, "roundTripMs"],
    [{ ...before, servers: { a: { ratio: 1, seenMs: nowMs + 120_000 } } }, "from the future"],
    ["", "an object"],
  ])("that are wrong are refused with what is wrong: %j", (value, why) => {
    expect(() => beliefsFrom(value, nowMs)).toThrow(why);
  });
});
