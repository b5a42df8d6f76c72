import { describe, expect, it } from "vitest";
import { packetBytes } from "@longshore/lab";
import { ownRate } from "./own-rate.ts";

const roundTripMs = 50;

/** A body of ten packets that begins then, on a line that carries one packet per `msPerPacket`. */
function send(rate: ReturnType<typeof ownRate>, startMs: number, msPerPacket: number, packets = 10): void {
  rate.notes.sent(startMs, 10 * packetBytes, startMs);
  for (let packet = 1; packet <= packets; packet++)
    rate.notes.acknowledged(startMs, packet * packetBytes, startMs + roundTripMs + packet * msPerPacket);
  if (packets === 10) rate.notes.sendEnded(startMs, true, startMs + roundTripMs + 10 * msPerPacket);
}

describe("a client's own smoothed rate", () => {
  it("is the rate of bytes that came while the link had work, and stays while nothing is sent", () => {
    const rate = ownRate(roundTripMs);
    expect(rate.at(0)).toBe(Infinity);
    send(rate, 100, 4);
    expect(rate.at(1000)).toBeCloseTo(0.25, 9);
    expect(rate.at(60_000)).toBeCloseTo(0.25, 9);
  });

  it("moves a part of the way with each second that had work", () => {
    const rate = ownRate(roundTripMs);
    send(rate, 100, 4);
    send(rate, 1200, 2);
    expect(rate.at(2000)).toBeCloseTo(0.25 + 0.3 * 0.25, 9);
  });

  it("falls while acknowledgements are due and none come, but not within a round trip", () => {
    const rate = ownRate(roundTripMs);
    send(rate, 100, 4);
    send(rate, 1980, 4, 0);
    expect(rate.at(2000)).toBeCloseTo(0.25, 9);
    expect(rate.at(4000)).toBeCloseTo(0.25 * 0.7 * 0.7, 9);
  });

  it("is as fresh within a second as at its end: a part of one has its share of the weight", () => {
    const rate = ownRate(roundTripMs);
    send(rate, 100, 4);
    expect(rate.at(500)).toBeCloseTo(0.25, 9);
    send(rate, 1200, 2);
    expect(rate.at(1500)).toBeCloseTo(0.25 + 0.3 * 0.5 * 0.25, 9);
    expect(rate.at(2000)).toBeCloseTo(0.25 + 0.3 * 0.25, 9);
  });

  it("knows its own unacknowledged bytes, until they are given up", () => {
    const rate = ownRate(roundTripMs);
    send(rate, 100, 4);
    expect(rate.unacknowledgedBytes()).toBe(0);
    send(rate, 1200, 4, 3);
    expect(rate.unacknowledgedBytes()).toBe(7 * packetBytes);
    rate.notes.sendEnded(1200, false, 1500);
    expect(rate.unacknowledgedBytes()).toBe(0);
  });
});
