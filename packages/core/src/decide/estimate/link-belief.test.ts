import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../words/base/index.ts";
import { chanceBelow, meanOf, quantileOf } from "../../words/estimate/index.ts";
import { linkBelief } from "./link-belief.ts";
import type { LinkLearner } from "../../wire/transport/index.ts";
import { linkModel, packetBytes } from "./rate-model.ts";

const model = linkModel();
const fresh = (): LinkLearner => linkBelief({ model });

/** Sends a body over a link of one rate and tells what a client would see. Returns the instant of the last note. */
function sendSteadily(
  link: LinkLearner,
  bytes: number,
  bitsPerSecond: number,
  startMs: number,
  roundTripMs = 40,
): number {
  const note = link.sendStarted(bytes, "up", startMs);
  const perPacketMs = (packetBytes * 8000) / bitsPerSecond;
  const packets = Math.ceil(bytes / packetBytes);
  let nowMs = startMs;
  for (let packet = 1; packet <= packets; packet++) {
    nowMs = startMs + roundTripMs + packet * perPacketMs;
    note.progressed(Math.min(bytes, packet * packetBytes), nowMs);
  }
  note.ended(nowMs, true);
  return nowMs;
}

/** A link of 2 Mbit/s that has carried eight bodies, and what it is then believed to take for 100 kB. */
function accustomed() {
  const link = fresh();
  link.roundTripSeen(20, 0);
  let nowMs = 5;
  for (let body = 0; body < 8; body++) nowMs = sendSteadily(link, 40_000, 2e6, nowMs, 20) + 100;
  return { link, nowMs, usual: meanOf(link.transferMs(100_000, "up", nowMs)) };
}

describe("linkBelief", () => {
  it("is a wide prior before any evidence and says so", () => {
    const estimate = fresh().transferMs(100_000, "up", 0);
    expect(estimate).toMatchObject({ origin: "prior", observedAtMs: -Infinity });
    expect((estimate.values[14] ?? NaN) / (estimate.values[1] ?? NaN)).toBeGreaterThan(10);
  });

  it("reads the same prior from each new link of a model, whatever other links have read or learned", () => {
    const shared = linkModel();
    const read = (link: LinkLearner): number[] =>
      [0, 1000, 40_000, 3e6].flatMap((bytes) => [...link.transferMs(bytes, "up", 0).values]);
    read(linkBelief({ model: shared, hint: { upBitsPerSecond: 1e6 } }));
    const first = linkBelief({ model: shared });
    const before = read(first);
    sendSteadily(first, 40_000, 2e6, 10);
    expect(read(first)).not.toEqual(before);
    expect(read(linkBelief({ model: shared }))).toEqual(before);
    expect(read(linkBelief({ model: linkModel() }))).toEqual(before);
  });

  it.each([0.3e6, 3e6, 30e6, 300e6])("learns a steady rate of %d bit/s from its own bodies", (rate) => {
    const link = fresh();
    link.roundTripSeen(40, 0);
    let nowMs = 10;
    for (let body = 0; body < 6; body++) nowMs = sendSteadily(link, rate / 20, rate, nowMs) + 100;
    const bytes = rate / 8;
    const estimate = link.transferMs(bytes, "up", nowMs);
    expect(estimate.origin).toBe("measured");
    // A second of link time and half a round trip, give or take what a link may do in a second.
    expect(quantileOf(estimate, 0.5)).toBeGreaterThan(850);
    expect(quantileOf(estimate, 0.5)).toBeLessThan(1250);
    expect(chanceBelow(estimate, 600)).toBeLessThan(0.1);
  });

  it("takes longer for more bytes, and for a transfer that waits in the queue", () => {
    const link = fresh();
    link.roundTripSeen(40, 0);
    const nowMs = sendSteadily(link, 400_000, 8e6, 0) + 5;
    let last = 0;
    for (const bytes of [0, 1000, 20_000, 100_000, 600_000, 5_000_000]) {
      const mean = meanOf(link.transferMs(bytes, "up", nowMs));
      expect(mean).toBeGreaterThanOrEqual(last);
      last = mean;
    }
    const alone = meanOf(link.transferMs(100_000, "up", nowMs));
    link.sendStarted(500_000, "up", nowMs);
    expect(meanOf(link.transferMs(100_000, "up", nowMs))).toBeGreaterThan(alone + 300);
  });

  it("grows less sure while idle, and takes idle time for no evidence of an outage", () => {
    const link = fresh();
    link.roundTripSeen(40, 0);
    const nowMs = sendSteadily(link, 1_000_000, 8e6, 0);
    const spread = (atMs: number): number => {
      const { values } = link.transferMs(500_000, "up", atMs);
      return (values[13] ?? NaN) / (values[2] ?? NaN);
    };
    const soon = spread(nowMs + 10);
    const later = spread(nowMs + 60_000);
    expect(later).toBeGreaterThan(soon * 1.25);
    expect(spread(nowMs + 3_600_000)).toBeGreaterThan(later);
    expect(quantileOf(link.transferMs(500_000, "up", nowMs + 3_600_000), 0.5)).toBeLessThan(3000);
  });

  it("takes a link that was slow for a moment to return to what it usually is", () => {
    const link = fresh();
    link.roundTripSeen(40, 0);
    const nowMs = sendSteadily(link, 2_000_000, 8e6, 0);
    const usual = meanOf(link.transferMs(100_000, "up", nowMs));
    const laterMs = sendSteadily(link, 20_000, 0.3e6, nowMs);
    expect(meanOf(link.transferMs(100_000, "up", laterMs))).toBeGreaterThan(usual * 4);
    expect(quantileOf(link.transferMs(100_000, "up", laterMs + 5000), 0.5)).toBeLessThan(usual * 2);
  });

  it("takes silence while busy for an outage, and the first acknowledgement for its end", () => {
    const link = fresh();
    link.roundTripSeen(40, 0);
    const nowMs = sendSteadily(link, 400_000, 8e6, 0);
    const before = meanOf(link.transferMs(20_000, "up", nowMs));
    const note = link.sendStarted(100_000, "up", nowMs);
    const remaining = (atMs: number): number => meanOf(note.remainingMs(atMs));
    const expected = remaining(nowMs + 1);
    const silent = remaining(nowMs + 400);
    const dead = remaining(nowMs + 20_000);
    expect(silent).toBeGreaterThan(expected * 2);
    expect(dead).toBeGreaterThan(silent * 2);
    for (let packet = 1; packet <= 40; packet++)
      note.progressed(packet * packetBytes, nowMs + 20_000 + packet * 1.46);
    expect(remaining(nowMs + 20_070)).toBeLessThan(expected * 1.5);
    note.progressed(100_000, nowMs + 20_150);
    expect(remaining(nowMs + 20_150)).toBe(0);
    expect(meanOf(link.transferMs(20_000, "up", nowMs + 20_200))).toBeLessThan(before * 2);
  });

  it("does not take a link for a long way off because it was slow for a while", () => {
    const link = fresh();
    for (let second = 0; second < 5; second++) link.roundTripSeen(20, second * 1000);
    let nowMs = 6000;
    // A packet takes 23 ms, there and back: so do exchanges.
    for (let body = 0; body < 20; body++) {
      nowMs = sendSteadily(link, 60_000, 0.5e6, nowMs, 20);
      link.roundTripSeen(20 + 23, nowMs);
    }
    for (let body = 0; body < 5; body++) nowMs = sendSteadily(link, 100_000, 100e6, nowMs + 500, 20);
    expect(quantileOf(link.roundTripMs(nowMs), 0.95)).toBeLessThan(25);
    expect(quantileOf(link.transferMs(100_000, "up", nowMs), 0.8)).toBeLessThan(30);
  });

  it("takes the way back of small replies to be as fast as the way there", () => {
    const link = fresh();
    link.roundTripSeen(40, 0);
    const before = meanOf(link.transferMs(14_000, "down", 0));
    const nowMs = sendSteadily(link, 1_000_000, 20e6, 0);
    expect(meanOf(link.transferMs(14_000, "down", nowMs))).toBeLessThan(before - 5);
    link.sendStarted(20_000, "down", nowMs).progressed(1460, nowMs + 400);
    expect(meanOf(link.transferMs(20_000, "down", nowMs + 400))).toBeGreaterThan(100);
  });

  it("does not take the time until the first acknowledgement can be here for silence", () => {
    const link = fresh();
    link.roundTripSeen(200, 0);
    const nowMs = sendSteadily(link, 400_000, 8e6, 0, 200);
    const note = link.sendStarted(20_000, "up", nowMs);
    const early = meanOf(note.remainingMs(nowMs + 1));
    expect(meanOf(note.remainingMs(nowMs + 180))).toBeLessThan(early);
  });

  it.each([1, 4, 8])("takes an answered question for the end of a silence (of %i bodies)", (bodies) => {
    const { link, nowMs } = accustomed();
    let atMs = nowMs;
    const likely = (): number => quantileOf(link.transferMs(12_000, "up", atMs), 0.8);
    const usual = likely();
    for (let body = 0; body < bodies; body++, atMs += 400)
      link.sendStarted(12_000, "up", atMs).ended(atMs + 400, false);
    expect(likely()).toBeGreaterThan(20 * usual);
    // Neither for the end of a link that has become slow, which would explain the silence, too.
    link.roundTripSeen(20, (atMs += 25));
    expect(likely()).toBeLessThan(2 * usual);
  });

  it("does not blame the link for a silent body when a later question is answered", () => {
    const { link, nowMs } = accustomed();
    let atMs = nowMs;
    const likely = (): number => quantileOf(link.transferMs(12_000, "up", atMs), 0.8);
    const usual = likely();
    const stuck = link.sendStarted(12_000, "up", atMs);
    for (const silentMs of [4000, 5000, 5000]) {
      for (const endMs = atMs + silentMs; atMs < endMs; atMs += 100) {
        if (silentMs > 4000) link.roundTripSeen(20, atMs);
        // It may come now, or never.
        if (silentMs > 4000) expect(meanOf(stuck.remainingMs(atMs))).toBeGreaterThan((atMs - nowMs) / 2);
      }
      if (silentMs === 4000) expect(likely()).toBeGreaterThan(20 * usual);
      else expect(likely()).toBeLessThan(2 * usual);
    }
    // Its late part is not what the link carried just then.
    for (let bytes = 6000; bytes <= 12_000; bytes += 1500, atMs += 6) stuck.progressed(bytes, atMs);
    expect(likely()).toBeGreaterThan(usual / 2);
    expect(likely()).toBeLessThan(2 * usual);
  });

  it("learns nothing of the rate from questions that are answered", () => {
    const { link, nowMs } = accustomed();
    link.sendStarted(12_000, "up", nowMs).ended(nowMs + 400, false);
    const medianMs = (question: number): number => {
      const atMs = nowMs + 430 + 10 * question;
      link.roundTripSeen(20, atMs);
      return quantileOf(link.transferMs(100_000, "up", atMs), 0.5);
    };
    const first = medianMs(0);
    for (let question = 1; question < 20; question++)
      expect(Math.abs(medianMs(question) / first - 1)).toBeLessThan(0.1);
  });

  it("assumes that a question sent before a body was cancelled went ahead of that body", () => {
    const leftMs = (askedBeforeMs: number): number => {
      const { link, nowMs } = accustomed();
      link.sendStarted(500_000, "up", nowMs).ended(nowMs + 1, false);
      link.roundTripSeen(20, nowMs + 30, askedBeforeMs);
      return meanOf(link.transferMs(20_000, "up", nowMs + 30));
    };
    // 64 kB at 2 Mbit/s take a quarter of a second.
    expect(leftMs(100)).toBeGreaterThan(leftMs(0) + 100);
  });

  it("counts the remaining bytes of a cancelled body until they have drained", () => {
    const link = fresh();
    link.roundTripSeen(40, 0);
    const nowMs = sendSteadily(link, 400_000, 2e6, 0);
    const alone = meanOf(link.transferMs(20_000, "up", nowMs));
    link.sendStarted(500_000, "up", nowMs).ended(nowMs + 1, false);
    // 64 kB at 2 Mbit/s take a quarter of a second.
    expect(meanOf(link.transferMs(20_000, "up", nowMs + 1))).toBeGreaterThan(alone + 150);
    expect(meanOf(link.transferMs(20_000, "up", nowMs + 3000))).toBeLessThan(alone + 100);
  });

  it("assumes that a body waits for the remaining bytes of one cancelled before it began", () => {
    const beginsMs = (bytesBefore: number): number => {
      const { link, nowMs } = accustomed();
      if (bytesBefore > 0) link.sendStarted(bytesBefore, "up", nowMs).ended(nowMs + 1, false);
      return meanOf(link.sendStarted(20_000, "up", nowMs + 1).remainingMs(nowMs + 1));
    };
    // 64 kB at 2 Mbit/s take a quarter of a second.
    expect(beginsMs(500_000)).toBeGreaterThan(beginsMs(0) + 150);
  });

  it("assumes that a body waits for bytes cancelled before it, also when another body was cancelled since", () => {
    const leftMs = (...givenUp: readonly ("before" | "since")[]): number => {
      const { link, nowMs } = accustomed();
      const giveUp = (): void => link.sendStarted(500_000, "up", nowMs + 1).ended(nowMs + 2, false);
      if (givenUp.includes("before")) giveUp();
      const body = link.sendStarted(20_000, "up", nowMs + 2);
      if (givenUp.includes("since")) giveUp();
      return meanOf(body.remainingMs(nowMs + 3));
    };
    const alone = leftMs();
    // 64 kB at 2 Mbit/s take a quarter of a second.
    expect(leftMs("before", "since")).toBeGreaterThan(alone + 150);
    expect(leftMs("before", "since")).toBeLessThan(leftMs("before") + 20);
    expect(leftMs("since")).toBeLessThan(alone + 20);
  });

  it("does not take what was given up to have passed with what was acknowledged before it", () => {
    const { link, nowMs, usual } = accustomed();
    const first = link.sendStarted(29_200, "up", nowMs);
    const second = link.sendStarted(150_000, "up", nowMs);
    for (let packet = 1; packet <= 10; packet++)
      first.progressed(packet * packetBytes, nowMs + 20 + packet * 5.84);
    second.ended(nowMs + 80, false);
    // The rest of the first passes in front of the 44 packets that are left of the second.
    for (let packet = 11; packet <= 20; packet++) {
      first.progressed(packet * packetBytes, nowMs + 20 + packet * 5.84);
      expect(quantileOf(first.remainingMs(nowMs + 20 + packet * 5.84), 0.5)).toBeLessThan(120);
    }
    const between = nowMs + 20 + 20 * 5.84;
    first.ended(between, true);
    expect(meanOf(link.transferMs(100_000, "up", between))).toBeGreaterThan(usual);
  });

  it("does not take what was given up to have passed in the moment in which it was given up", () => {
    const { link, nowMs, usual } = accustomed();
    const note = link.sendStarted(150_000, "up", nowMs);
    for (let packet = 1; packet <= 30; packet++)
      note.progressed(packet * packetBytes, nowMs + 20 + packet * 5.84);
    const givenUpMs = nowMs + 20 + 30 * 5.84 + 0.1;
    note.ended(givenUpMs, false);
    expect(meanOf(link.transferMs(100_000, "up", givenUpMs + 30))).toBeGreaterThan(usual);
  });

  it("learns from whole exchanges where no acknowledgement comes, and takes nothing there for silence", () => {
    const link = fresh();
    link.roundTripSeen(40, 0);
    let nowMs = 0;
    for (let body = 0; body < 8; body++) {
      const note = link.sendStarted(200_000, "up", nowMs, "none");
      // 200 kB at 16 Mbit/s and a server that thinks for two seconds.
      link.transferMs(1000, "up", nowMs + 1500);
      note.ended(nowMs + 40 + 100 + 2000, true, 2000);
      nowMs += 2500;
    }
    const estimate = link.transferMs(2_000_000, "up", nowMs);
    expect(quantileOf(estimate, 0.5)).toBeGreaterThan(700);
    expect(quantileOf(estimate, 0.5)).toBeLessThan(1500);
  });

  it("offers a probe only when idle, larger on a faster link, and rarely on a slow one", () => {
    const fast = fresh();
    const slow = fresh();
    for (const link of [fast, slow]) link.roundTripSeen(40, 0);
    const fastMs = sendSteadily(fast, 2_000_000, 100e6, 0);
    const slowMs = sendSteadily(slow, 20_000, 0.3e6, 0);
    expect(fast.probeBytes("up", fastMs + 10)).toBe(0);
    expect(fast.probeBytes("up", fastMs + 400)).toBeGreaterThan(20 * packetBytes);
    expect(slow.probeBytes("up", slowMs + 300)).toBe(0);
    expect(slow.probeBytes("up", slowMs + 3000)).toBeGreaterThan(0);
    expect(slow.probeBytes("up", slowMs + 3000)).toBeLessThan(fast.probeBytes("up", fastMs + 3000) / 2);
    fast.sendStarted(50_000, "up", fastMs + 400);
    expect(fast.probeBytes("up", fastMs + 5000)).toBe(0);
  });

  it("times a probe to be back just before it is wanted, and saves up for it", () => {
    const link = fresh();
    link.roundTripSeen(40, 0);
    const nowMs = sendSteadily(link, 200_000, 5e6, 0);
    expect(link.probeBytes("up", nowMs + 100, 400)).toBe(0);
    expect(link.probeBytes("up", nowMs + 2000, 20)).toBe(0);
    const dueBytes = link.probeBytes("up", nowMs + 2000, 70);
    expect(dueBytes).toBeGreaterThan(2 * packetBytes);
    let sentBytes = dueBytes;
    for (let at = 1; at <= 100; at++) sentBytes += link.probeBytes("up", nowMs + 2000 + at * 100, 70);
    // 4 % of 5 Mbit/s over 12 s, give or take what is believed of the rate.
    expect(sentBytes).toBeLessThan(2 * 0.04 * (5e6 / 8) * 12);
  });

  it("stays sorted, finite and above 0 whatever it is told, in whatever order", () => {
    const instants = fc.oneof(
      fc.integer({ min: -1000, max: 200_000 }),
      fc.constantFrom(NaN, Infinity, -Infinity),
    );
    const sizes = fc.oneof(fc.integer({ min: -10, max: 10_000_000 }), fc.constantFrom(NaN, Infinity, 0));
    const notes = fc.record({
      kind: fc.constantFrom("send", "progress", "end", "fail", "trip", "read", "probe"),
      atMs: instants,
      size: sizes,
      which: fc.nat(9),
      progress: fc.constantFrom("acknowledged" as const, "none" as const),
    });
    fc.assert(
      fc.property(fc.array(notes, { maxLength: 40 }), (list) => {
        const link = fresh();
        const open: ReturnType<LinkLearner["sendStarted"]>[] = [];
        for (const { kind, atMs, size, which, progress } of list) {
          const note = open[which % Math.max(1, open.length)];
          if (kind === "send")
            open.push(link.sendStarted(size, which % 2 === 0 ? "up" : "down", atMs, progress));
          if (kind === "progress") note?.progressed(size, atMs);
          if (kind === "end") note?.ended(atMs, true, size);
          if (kind === "fail") note?.ended(atMs, false);
          if (kind === "trip") link.roundTripSeen(size, atMs);
          if (kind === "probe") expect(link.probeBytes("up", atMs)).toBeGreaterThanOrEqual(0);
          const read = kind === "read" && note ? note.remainingMs(atMs) : link.transferMs(size, "up", atMs);
          read.values.forEach((value, index) => {
            expect(Number.isFinite(value) && value >= 0).toBe(true);
            if (index > 0) expect(value).toBeGreaterThanOrEqual(read.values[index - 1] ?? NaN);
          });
        }
      }),
      { numRuns: 60 },
    );
  });

  it("repeated and shrinking acknowledgements change nothing", () => {
    const tell = (repeat: boolean): Float64Array => {
      const link = fresh();
      link.roundTripSeen(40, 0);
      const note = link.sendStarted(100_000, "up", 0);
      note.progressed(20_000, 60);
      if (repeat) {
        note.progressed(20_000, 61);
        note.progressed(500, 62);
      }
      note.progressed(100_000, 120);
      note.progressed(100_000, 130);
      return link.transferMs(50_000, "up", 200).values;
    };
    expect(tell(true)).toEqual(tell(false));
  });

  it("promises quantiles that hold on a link that behaves as the model says", () => {
    const random = seededRandom(99);
    const link = fresh();
    link.roundTripSeen(40, 0);
    // A rate that walks and sometimes stalls; bodies of 40 kB every half second.
    let logRate = Math.log(0.5);
    let below50 = 0;
    let below90 = 0;
    let sends = 0;
    for (let nowMs = 0; sends < 600; sends++) {
      const estimate = link.transferMs(40_000, "up", nowMs);
      const note = link.sendStarted(40_000, "up", nowMs);
      let atMs = nowMs;
      for (let packet = 1; packet <= 28; packet++) {
        logRate += 0.2 * Math.sqrt(0.004) * (random.next() + random.next() + random.next() - 1.5) * 2;
        logRate = Math.max(-3, Math.min(2, logRate));
        atMs += -Math.log(1 - random.next()) / Math.exp(logRate);
        if (random.next() < 0.0012 * 4) atMs += -45 * Math.log(1 - random.next());
        note.progressed(Math.min(40_000, packet * packetBytes), atMs + 40);
      }
      note.ended(atMs + 40, true);
      const took = atMs + 20 - nowMs;
      if (took <= quantileOf(estimate, 0.5)) below50 += 1;
      if (took <= quantileOf(estimate, 0.9)) below90 += 1;
      nowMs = Math.max(nowMs + 500, atMs + 60);
    }
    expect(below50 / sends).toBeGreaterThan(0.4);
    expect(below50 / sends).toBeLessThan(0.68);
    expect(below90 / sends).toBeGreaterThan(0.84);
    expect(below90 / sends).toBeLessThan(0.98);
  });

  it("keeps its medians half of the time where each body begins while a train of packets is under way", () => {
    const random = seededRandom(17);
    const link = fresh();
    link.roundTripSeen(40, 0);
    const packetMs = (): number => -Math.log(1 - random.next());
    let kept = 0;
    for (let send = 0; send < 400; send++) {
      const trainMs = 500 * send;
      const train = link.sendStarted(16 * packetBytes, "up", trainMs);
      const bodyMs = trainMs + 30;
      const passedMs = Array.from({ length: 30 }, () => 0);
      let atMs = trainMs;
      for (let packet = 0; packet < 30; packet++) {
        if (packet === 16) atMs = Math.max(atMs, bodyMs);
        passedMs[packet] = atMs += packetMs();
      }
      // Nothing of the train is acknowledged when the body begins, and all of it has passed by then or nearly so.
      const told = quantileOf(link.transferMs(14 * packetBytes, "up", bodyMs), 0.5);
      const body = link.sendStarted(14 * packetBytes, "up", bodyMs);
      for (const [packet, ms] of passedMs.entries()) {
        const own = packet < 16 ? train : body;
        own.progressed((packet < 16 ? packet + 1 : packet - 15) * packetBytes, ms + 40);
        if (packet === 15) train.ended(ms + 40, true);
      }
      body.ended(atMs + 40, true);
      if (atMs + 20 - bodyMs <= told) kept += 1;
    }
    expect(kept / 400).toBeGreaterThan(0.42);
    expect(kept / 400).toBeLessThan(0.58);
  });

  it("does not take small bodies for quicker than the link because exchanges take longer than acknowledgements", () => {
    const link = fresh();
    // Of exchanges the server's handling is a part, of acknowledgements it is not.
    for (let second = 0; second < 8; second++) link.roundTripSeen(4.3, 1000 * second);
    let nowMs = 8000;
    for (let body = 0; body < 12; body++, nowMs += 20) {
      const note = link.sendStarted(9000, "up", nowMs);
      for (const total of [8192, 9000]) note.progressed(total, nowMs + 2 + (total * 8000) / 60e6);
      note.ended(nowMs + 4, true);
    }
    // 263 kB take 35 ms.
    expect(quantileOf(link.transferMs(263_000, "up", nowMs), 0.5)).toBeGreaterThan(20);
  });

  it("does not take a path for one without length because its link is quicker than believed by now", () => {
    const link = fresh();
    link.roundTripSeen(40, 0);
    let nowMs = 10;
    for (let body = 0; body < 6; body++) nowMs = sendSteadily(link, 40_000, 0.5e6, nowMs) + 100;
    // Now the link carries it at once, and the acknowledgement comes a little sooner than the round trip.
    const note = link.sendStarted(20_000, "up", nowMs);
    for (const total of [10_000, 20_000]) note.progressed(total, nowMs + 30);
    note.ended(nowMs + 50, true);
    // Half of 30 ms is the way at least, of which bodies take one half: nothing passes in less.
    expect(link.transferMs(1000, "up", nowMs + 100).values[0]).toBeGreaterThan(7);
  });

  it("takes an exchange that waited for the link for no longer way, and several in a row for one", () => {
    const link = linkBelief();
    const slowest = (nowMs: number): number => link.roundTripMs(nowMs).values.at(-1) ?? NaN;
    for (let seen = 0; seen < 8; seen++) link.roundTripSeen(20, 100 * seen);
    const before = slowest(800);
    link.roundTripSeen(300, 1000);
    expect(slowest(1100)).toBeCloseTo(before, 0);
    for (let seen = 0; seen < 12; seen++) link.roundTripSeen(300, 2000 + 1000 * seen);
    expect(slowest(14_000)).toBeGreaterThan(100);
  });

  it("takes exchanges that wait for the next packets of a link whose packets come in bursts for no longer way", () => {
    const link = fresh();
    const random = seededRandom(5);
    const burstMs = 60;
    for (let seen = 0; seen < 8; seen++) link.roundTripSeen(20, seen);
    for (let second = 1; second <= 60; second++) {
      const startMs = 1000 * second + burstMs * random.next();
      const note = link.sendStarted(20_000, "up", startMs);
      // Six packets at once.
      const firstMs = burstMs * Math.ceil(startMs / burstMs);
      for (let packet = 1; packet <= 14; packet++)
        note.progressed(
          Math.min(20_000, packet * packetBytes),
          firstMs + burstMs * Math.floor((packet - 1) / 6) + 20,
        );
      note.ended(firstMs + 2 * burstMs + 20, true);
      const askedMs = startMs + 500;
      const passedMs = burstMs * Math.ceil(askedMs / burstMs);
      link.roundTripSeen(passedMs - askedMs + 20, passedMs + 20);
    }
    expect(meanOf(link.roundTripMs(61_000))).toBeLessThan(26);
  });

  it("goes on believing in the longest trips of a way whose trips vary", () => {
    const link = linkBelief();
    const random = seededRandom(5);
    const slowest = (nowMs: number): number => link.roundTripMs(nowMs).values.at(-1) ?? NaN;
    let longer = 0;
    for (let seen = 0; seen < 1000; seen++) {
      const tookMs = 40 * 1.25 ** (random.next() + random.next() + random.next() + random.next() - 2);
      if (seen >= 100 && tookMs > slowest(1000 * seen)) longer++;
      link.roundTripSeen(tookMs, 1000 * seen);
    }
    expect(longer / 900).toBeLessThan(0.12);
  });

  it("does not take a lump of packets that beats the round trip by little for a much shorter path", () => {
    const link = fresh();
    for (let second = 0; second < 8; second++) link.roundTripSeen(21, 1000 * second);
    let nowMs = 8000;
    for (let body = 0; body < 20; body++, nowMs += 500) {
      const note = link.sendStarted(150_000, "up", nowMs);
      // Nine packets at once, 20 ms and each 13 ms after that: 1 byte in a microsecond.
      for (let lump = 1; lump <= 12; lump++)
        note.progressed(Math.min(150_000, lump * 13_140), nowMs + 20 + 13 * (lump - 1));
      note.ended(nowMs + 165, true);
    }
    // Of a small body the way is the most: no less than half a round trip.
    expect(link.transferMs(1000, "up", nowMs).values[0]).toBeGreaterThan(8.5);
  });

  it("takes the first packet of replies, of which nothing was seen, to come as exchanges do", () => {
    const link = fresh();
    for (let second = 0; second < 8; second++) link.roundTripSeen(40, 1000 * second);
    let nowMs = 9000;
    for (let body = 0; body < 6; body++) nowMs = sendSteadily(link, 40_000, 0.2e6, nowMs) + 100;
    // A packet takes 58 ms on the way there.
    expect(meanOf(link.transferMs(20, "down", nowMs))).toBeLessThan(35);
    expect(meanOf(link.transferMs(20_000, "down", nowMs))).toBeGreaterThan(400);
  });

  it("takes small replies to come as exchanges do long after a large one was seen, too", () => {
    const link = fresh();
    for (let second = 0; second < 8; second++) link.roundTripSeen(4, 1000 * second);
    const reply = link.sendStarted(20_000, "down", 9000);
    reply.progressed(20_000, 9003);
    reply.ended(9003, true);
    for (let second = 10; second < 40; second++) link.roundTripSeen(4, 1000 * second);
    expect(meanOf(link.transferMs(64, "down", 40_000))).toBeLessThan(3);
  });
});

it("learns nothing of its rate from connections that are refused or closed, however many and slow", () => {
  const { link, nowMs, usual } = accustomed();
  let atMs = nowMs;
  for (let round = 0; round < 40; round++) {
    const notes = Array.from({ length: 6 }, () => link.sendStarted(100_000, "up", atMs));
    atMs += 100;
    for (const note of notes) note.broke?.(atMs);
  }
  const after = meanOf(link.transferMs(100_000, "up", atMs));
  expect(after).toBeLessThan(2 * usual);
  // Once bodies pass again, it is learned from as before.
  for (let body = 0; body < 8; body++) atMs = sendSteadily(link, 40_000, 0.5e6, atMs, 20) + 100;
  expect(meanOf(link.transferMs(100_000, "up", atMs))).toBeGreaterThan(2 * usual);
});
