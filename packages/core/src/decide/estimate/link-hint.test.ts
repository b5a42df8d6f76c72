import { describe, expect, it } from "vitest";
import { chanceBelow, meanOf, quantileOf } from "../../words/estimate/index.ts";
import { hintedRates, type LinkHint } from "./link-hint.ts";
import { type LinkBelief, linkBelief } from "./link-belief.ts";
import { linkModel, packetBytes } from "./rate-model.ts";

const model = linkModel();
const hinted = (hint?: LinkHint): LinkBelief => linkBelief({ model, ...(hint ? { hint } : {}) });
const medianMs = (link: LinkBelief, bytes: number, direction: "up" | "down" = "up", nowMs = 0): number =>
  quantileOf(link.transferMs(bytes, direction, nowMs), 0.5);

/** Sends bodies for half a second of link time each, a second apart, over a link of one rate. */
function sendFor(link: LinkBelief, bitsPerSecond: number, bodies: number, roundTripMs = 40): number {
  const perPacketMs = (packetBytes * 8000) / bitsPerSecond;
  let nowMs = 0;
  for (let body = 0; body < bodies; body++) {
    const packets = Math.ceil(500 / perPacketMs);
    const note = link.sendStarted(packets * packetBytes, "up", nowMs);
    for (let packet = 1; packet <= packets; packet++)
      note.progressed(packet * packetBytes, nowMs + roundTripMs + packet * perPacketMs);
    note.ended(nowMs + roundTripMs + packets * perPacketMs, true);
    nowMs += 1000;
  }
  return nowMs;
}

describe("a hint of a link", () => {
  it.each([0.5e6, 5e6, 200e6])("of %d bit/s up is where the belief begins, and a wide one", (rate) => {
    const bytes = rate / 8; // a second
    const link = hinted({ upBitsPerSecond: rate });
    const estimate = link.transferMs(bytes, "up", 0);
    expect(estimate).toMatchObject({ origin: "prior", observedAtMs: -Infinity });
    expect(quantileOf(estimate, 0.5)).toBeGreaterThan(600);
    expect(quantileOf(estimate, 0.5)).toBeLessThan(1700);
    expect(chanceBelow(estimate, 400)).toBeGreaterThan(0.05);
    expect(chanceBelow(estimate, 1300)).toBeLessThan(0.9);
  });

  it("takes the way up for slower than what is told of the way down, and less sure", () => {
    const link = hinted({ downBitsPerSecond: 2e6 });
    const downMs = medianMs(link, 250_000, "down");
    expect(downMs).toBeGreaterThan(600);
    expect(downMs).toBeLessThan(1700);
    expect(medianMs(link, 250_000)).toBeGreaterThan(2 * downMs);
  });

  it("at which somebody stopped counting makes slow rates less likely, and quick ones no less so", () => {
    const least = hinted({ downBitsPerSecond: 10e6, atLeast: true });
    const slow = (link: LinkBelief): number => 1 - chanceBelow(link.transferMs(600_000, "down", 0), 900);
    const swift = (link: LinkBelief): number => chanceBelow(link.transferMs(600_000, "down", 0), 100);
    expect(slow(least)).toBeLessThan(0.6 * slow(hinted()));
    expect(swift(least)).toBeGreaterThan(swift(hinted()));
  });

  it("tells the round trip until one was seen", () => {
    const link = hinted({ roundTripMs: 300 });
    expect(quantileOf(link.roundTripMs(0), 0.5)).toBeCloseTo(300, -1);
    for (let seen = 0; seen < 8; seen++) link.roundTripSeen(20, seen * 100);
    expect(quantileOf(link.roundTripMs(1000), 0.5)).toBeCloseTo(20, -1);
  });

  it("says nothing of rates where it names none, or none that can be", () => {
    for (const hint of [
      undefined,
      {},
      { kind: "wifi" as const },
      { upBitsPerSecond: 0 },
      { upBitsPerSecond: NaN },
    ])
      expect(hintedRates(model, hint, "up")).toBeUndefined();
    expect(hinted({ kind: "wifi" }).transferMs(1e5, "up", 0)).toEqual(hinted().transferMs(1e5, "up", 0));
  });

  it.each([
    [0.5e6, 5e6],
    [5e6, 0.5e6],
    [4e6, 40e6],
    [40e6, 4e6],
  ])("of %d bit/s is forgotten after four bodies at %d", (told, real) => {
    const bytes = real / 8;
    const link = hinted({ upBitsPerSecond: told, roundTripMs: 40 });
    const nowMs = sendFor(link, real, 4);
    const free = hinted();
    sendFor(free, real, 4);
    const expected = medianMs(free, bytes, "up", nowMs);
    expect(medianMs(link, bytes, "up", nowMs) / expected).toBeGreaterThan(0.8);
    expect(medianMs(link, bytes, "up", nowMs) / expected).toBeLessThan(1.25);
  });
});

describe("a hint that comes later", () => {
  it("is where the belief begins if nothing was measured, and else changes nothing", () => {
    const link = hinted();
    link.hinted({ upBitsPerSecond: 0.5e6 });
    const thin = hinted({ upBitsPerSecond: 0.5e6 });
    expect(link.transferMs(600_000, "up", 0)).toEqual(thin.transferMs(600_000, "up", 0));
    const nowMs = sendFor(link, 5e6, 2);
    const before = meanOf(link.transferMs(600_000, "up", nowMs));
    link.hinted({ upBitsPerSecond: 100e6 });
    expect(meanOf(link.transferMs(600_000, "up", nowMs))).toBe(before);
  });

  it("of another network begins again, with what is under way still to be acknowledged", () => {
    const link = hinted();
    const nowMs = sendFor(link, 50e6, 2);
    const note = link.sendStarted(100_000, "up", nowMs);
    link.hinted({ upBitsPerSecond: 0.5e6 }, true);
    expect(link.transferMs(600_000, "up", nowMs).origin).toBe("prior");
    expect(medianMs(link, 600_000, "up", nowMs)).toBeGreaterThan(6000);
    note.progressed(100_000, nowMs + 1700);
    note.ended(nowMs + 1700, true);
    expect(link.transferMs(600_000, "up", nowMs + 1700).origin).toBe("measured");
    link.hinted(undefined, true);
    expect(link.transferMs(600_000, "up", nowMs + 1700)).toEqual(
      hinted().transferMs(600_000, "up", nowMs + 1700),
    );
  });
});
