import { describe, expect, it } from "vitest";
import {
  allLocal,
  allRemote,
  comparePolicies,
  oracle,
  replay,
  type ReplaySetting,
  scorePolicies,
} from "./index.ts";
import { constantTrace, linkShapes, readMahimahi, syntheticTrace } from "@longshore/lab";
import { replayOffloader } from "./replay-offloader.ts";

const steady: ReplaySetting = {
  trace: constantTrace(8e6),
  requestBytes: 100_000,
  localMs: 300,
  serverMs: 15,
  roundTripMs: 50,
  arrivals: 500,
  lengthMs: 30_000,
};

describe("replayOffloader", () => {
  it("sends requests that are quicker elsewhere, and takes the times of the policies' rules", async () => {
    const sent = await replayOffloader(steady);
    expect(sent.remoteRatio).toBeGreaterThan(0.95);
    const alone = replay(steady, allRemote());
    expect(sent.p50Ms / alone.p50Ms).toBeCloseTo(1, 1);
    // The endpoint is known from the first request on.
    expect((sent.tookMs[0] ?? NaN) / (alone.tookMs[0] ?? NaN)).toBeCloseTo(1, 1);
    expect(sent.probeRatio).toBeLessThan(0.05);
    const slow = { ...steady, trace: constantTrace(1e6) };
    const stayed = await replayOffloader(slow);
    // An endpoint that is new is tried a few times.
    expect(stayed.remoteRatio).toBeLessThan(0.15);
    expect(stayed.p50Ms).toBeCloseTo(replay(slow, allLocal()).p50Ms, 6);
  });

  it("counts probes also where many uploads are given up", async () => {
    const quick = Array.from({ length: 10_000 }, (_none, at) => at);
    const slow = Array.from({ length: 1000 }, (_none, at) => 10_000 + 50 * at);
    const trace = readMahimahi("collapses", `${[...quick, ...slow].join("\n")}\n`);
    const replayed = await replayOffloader({
      ...steady,
      trace,
      requestBytes: 150_000,
      lengthMs: trace.lengthMs,
    });
    expect(replayed.probeRatio).toBeGreaterThan(0.0005);
    expect(replayed.probeRatio).toBeLessThan(0.05);
  });

  it("keeps deadlines of one and a half runs by runs here that begin in time", async () => {
    const trace = syntheticTrace(linkShapes.stalling, 21, 60_000);
    const { tookMs } = await replayOffloader({ ...steady, trace, lengthMs: 20_000 }, { deadlineMs: 450 });
    expect(tookMs.filter((took) => !(took <= 450))).toEqual(new Float64Array(0));
  });

  it("hears of a link that is back where a deadline let no request be sent meanwhile", async () => {
    const packets: number[] = [];
    const passes = (ms: number, gapMs: number): void => {
      const fromMs = packets.at(-1) ?? 0;
      for (let atMs = gapMs; atMs <= ms; atMs += gapMs) packets.push(Math.round(fromMs + atMs));
    };
    passes(10_000, 1.5);
    passes(10_000, 50);
    passes(20_000, 1.5);
    const trace = readMahimahi("comes back", `${packets.join("\n")}\n`);
    const setting = { ...steady, trace, lengthMs: trace.lengthMs };
    const { tookMs } = await replayOffloader(setting, { deadlineMs: 225 });
    const missed = Array.from(tookMs, (took, index) => (took <= 225 ? [] : [index * 500])).flat();
    expect(missed.filter((atMs) => atMs < 10_000)).toEqual([]);
    expect(missed.filter((atMs) => atMs >= 20_000).length).toBeLessThanOrEqual(2);
  });

  it("sends again as soon as a link is back that kept questions unanswered", async () => {
    const passing = (fromMs: number, toMs: number): number[] =>
      Array.from({ length: toMs - fromMs }, (_none, ms) => fromMs + ms);
    const packets = [...passing(0, 10_000), ...passing(19_000, 30_000)];
    const trace = readMahimahi("falls silent", `${packets.join("\n")}\n`);
    const { tookMs } = await replayOffloader({ ...steady, trace, requestBytes: 20_000, localMs: 100 });
    const stayed = Array.from(tookMs, (took, index) => (took < 99 ? [] : [index * 500])).flat();
    expect(stayed.filter((atMs) => atMs >= 20_000)).toEqual([]);
  });

  it("is the same every time, and has its row beside the others", async () => {
    const setting = { ...steady, trace: syntheticTrace(linkShapes.stalling, 21, 60_000), lengthMs: 60_000 };
    const first = await replayOffloader(setting);
    expect((await replayOffloader(setting)).tookMs).toEqual(first.tookMs);
    const scores = scorePolicies(comparePolicies(setting, [], [first]));
    const meanVsOracle = first.meanMs / replay(setting, oracle()).meanMs;
    expect(scores.find(({ policy }) => policy === "offloader")).toMatchObject({
      worstMeanVsOracle: meanVsOracle,
      worstExtraRatio: first.extraRatio,
    });
  });
});
