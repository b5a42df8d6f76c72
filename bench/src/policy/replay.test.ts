import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { linkModel, seededRandom } from "@longshore/core";
import { constantTrace, linkShapes, rateTrace, readMahimahi, syntheticTrace, uploadMs } from "@longshore/lab";
import {
  allLocal,
  allRemote,
  coverageInterval,
  coverageOf,
  deadlineRow,
  hedgeAt,
  lastRate,
  linUcb,
  meanCut,
  oracle,
  orderedFallback,
  pinballLoss,
  replay,
  type ReplayPolicy,
  type ReplaySetting,
  sendBlocks,
  sends,
  smoothedRate,
} from "./index.ts";

const data = resolve(process.env["LONGSHORE_DATA"] ?? "../shared/data", "traces/lte-mahimahi");
const hasData = existsSync(data);
const skipped = hasData ? "" : ` (skipped: no recorded traces in ${data}; set LONGSHORE_DATA)`;

const steady: ReplaySetting = {
  trace: constantTrace(8e6),
  requestBytes: 100_000,
  localMs: 300,
  serverMs: 15,
  roundTripMs: 50,
  arrivals: 500,
  lengthMs: 30_000,
};

describe("replay", () => {
  it("charges the run here, or upload, round trip and server", () => {
    const uploadedMs = uploadMs(steady.trace, 0, 100_000);
    expect(replay(steady, allLocal())).toMatchObject({
      meanMs: 300,
      p99Ms: 300,
      extraRatio: 0,
      remoteRatio: 0,
    });
    expect(replay(steady, allRemote()).meanMs).toBeCloseTo(uploadedMs + 65, 6);
    expect(replay(steady, oracle()).meanMs).toBeCloseTo(Math.min(300, uploadedMs + 65), 6);
  });

  it("queues uploads in order, and local runs on a device that does one at a time", () => {
    const crowded = { ...steady, arrivals: [0, 1, 2] };
    const uploadedMs = uploadMs(steady.trace, 0, 100_000);
    const remote = replay(crowded, allRemote()).tookMs;
    expect(remote[2]).toBeCloseTo(3 * uploadedMs + 65 - 2, 0);
    const alone = replay({ ...crowded, link: "alone" }, allRemote()).tookMs;
    expect(alone[2]).toBeCloseTo(uploadedMs + 65, 0);
    expect([...replay(crowded, allLocal()).tookMs]).toEqual([300, 599, 898]);
    expect([...replay({ ...crowded, device: "parallel" }, allLocal()).tookMs]).toEqual([300, 300, 300]);
  });

  it("counts a hedge's second run as extra, and carries 64 kB of a cancelled upload", () => {
    // The link stops after 20 ms and comes back after two seconds.
    const stalling = rateTrace(
      "stall",
      [
        { fromMs: 0, bitsPerSecond: 8e6 },
        { fromMs: 20, bitsPerSecond: 0 },
        { fromMs: 2000, bitsPerSecond: 8e6 },
      ],
      60_000,
      "synthetic",
    );
    const hedge = (): ReplayPolicy => ({
      name: "hedge",
      arrived: () => ({ where: "remote", backupMs: 100 }),
    });
    const [first, second] = replay({ ...steady, trace: stalling, arrivals: [0, 1990] }, hedge()).tookMs;
    expect(first).toBe(400);
    // 44 packets of the first come first, then 69 of its own.
    expect(second).toBeCloseTo(10 + 113 * 1.46 + 65, -1);
    expect(replay({ ...steady, trace: stalling, arrivals: [0] }, hedge())).toMatchObject({
      extraRatio: 1,
      remoteRatio: 1,
    });
  });

  it("ordered fallback waits for its timeout, last and smoothed rate follow the link", () => {
    const slow = { ...steady, trace: constantTrace(0.4e6) };
    expect(replay(slow, orderedFallback(500)).meanMs).toBeGreaterThan(700);
    for (const policy of [lastRate, smoothedRate]) {
      expect(replay({ ...slow, lengthMs: 60_000 }, policy()).remoteRatio).toBeLessThan(0.05);
      expect(replay({ ...steady, trace: constantTrace(50e6) }, policy()).remoteRatio).toBe(1);
    }
  });

  it("is the same every time", () => {
    const trace = syntheticTrace(linkShapes.stalling, 21, 60_000);
    const setting = { ...steady, trace, lengthMs: 60_000 };
    expect(replay(setting, hedgeAt(0.5)).tookMs).toEqual(replay(setting, hedgeAt(0.5)).tookMs);
  });
});

describe("policies of others", () => {
  it("a bandit finds the better endpoint from rewards, and tries the other now and then", () => {
    const sent = (requestBytes: number): number => replay({ ...steady, requestBytes }, linUcb()).remoteRatio;
    expect(sent(100_000)).toBeGreaterThan(0.9);
    expect(sent(600_000)).toBeLessThan(0.3);
    expect(sent(600_000)).toBeGreaterThan(0);
  });

  it("a minimum cut on the mean decides by all that was seen, not by the last second", () => {
    const fallen = rateTrace(
      "fallen",
      [
        { fromMs: 0, bitsPerSecond: 8e6 },
        { fromMs: 25_000, bitsPerSecond: 0.5e6 },
      ],
      30_000,
    );
    expect(replay({ ...steady, trace: fallen }, meanCut()).remoteRatio).toBe(1);
    expect(replay({ ...steady, trace: fallen }, lastRate()).remoteRatio).toBeLessThan(0.9);
  });
});

describe("deadlines and promises", () => {
  it("counts missed deadlines, beside those that the oracle misses", () => {
    const kept = deadlineRow(steady, 1.5, replay(steady, hedgeAt(0.5)));
    expect(kept).toMatchObject({ deadlineRatio: 1.5, missRatio: 0, oracleMissRatio: 0 });
    const short = deadlineRow(steady, 0.3, replay(steady, hedgeAt(0.5)));
    expect(short.oracleMissRatio).toBe(1);
  });

  it("covers its promise on a link of one rate, and loses less than one figure does on a varying one", () => {
    const model = linkModel();
    const varying = sends(syntheticTrace(linkShapes.stalling, 3, 120_000), 20_000, 1000, { model });
    const loss = pinballLoss(varying);
    expect(loss.ours).toBeLessThan(Math.min(loss.smoothed.empty, loss.smoothed.queued));
    expect(loss.ours).toBeLessThan(Math.min(loss.shown.empty, loss.shown.queued));
    const [low, high] = coverageInterval(sendBlocks([varying]), 0.95);
    expect(low).toBeLessThanOrEqual(coverageOf(varying, 0.95));
    expect(high).toBeGreaterThanOrEqual(coverageOf(varying, 0.95));
  });

  it("is no surer of a coverage because the same stretches of a trace were replayed in several rounds", () => {
    const round = sends(syntheticTrace(linkShapes.stalling, 4, 120_000), 20_000, 1000, {
      model: linkModel(),
    });
    const once = coverageInterval(sendBlocks([round]), 0.95);
    expect(once[0]).toBeLessThan(once[1]);
    const thrice = coverageInterval(sendBlocks([round, round, round]), 0.95);
    expect(thrice[0]).toBeCloseTo(once[0], 12);
    expect(thrice[1]).toBeCloseTo(once[1], 12);
  });

  it("gives smoothed rates the wait for unacknowledged bytes, too", () => {
    const list = sends(constantTrace(1e6), 20_000, [3000, 5000, 5060], { model: linkModel() });
    const last = list[2];
    expect(last?.tookMs).toBeGreaterThan((list[1]?.tookMs ?? NaN) + 90);
    for (const figures of [last?.smoothedMs, last?.shownMs]) {
      expect(Math.abs((figures?.queued ?? NaN) - (last?.tookMs ?? NaN))).toBeLessThan(30);
      expect(figures?.empty).toBeLessThan((last?.tookMs ?? NaN) - 90);
    }
  });

  it("shows a smoothed rate the line's work in the second under way", () => {
    const fallen = rateTrace(
      "fallen",
      [
        { fromMs: 0, bitsPerSecond: 20e6 },
        { fromMs: 10_000, bitsPerSecond: 2e6 },
      ],
      20_000,
    );
    const [before, within] = sends(fallen, 20_000, [10_000, 10_700], { model: linkModel() });
    expect(within?.shownMs.empty).toBeGreaterThan((before?.shownMs.empty ?? NaN) + 1);
    expect(within?.smoothedMs.empty).toBeGreaterThan((before?.smoothedMs.empty ?? NaN) + 1);
  });
});

describe("promises on a fast line with stalls that begin and end with full seconds", () => {
  const random = seededRandom(5);
  const entries = Array.from({ length: 150 }, (_, second) => ({
    fromMs: second * 1000,
    bitsPerSecond: random.next() < 0.03 ? 0 : 300e6,
  }));
  const trace = rateTrace("one figure a second", entries, 150_000);
  const drawn = entries.map(({ fromMs }) => fromMs + 1000 * random.next());

  it("lose less than figures of smoothed rates where sends fall anywhere in a second", () => {
    const list = sends(trace, 20_000, drawn, { model: linkModel() });
    expect(list.map(({ atMs }) => atMs)).toEqual(drawn);
    const loss = pinballLoss(list);
    expect(loss.ours).toBeLessThan(0.9 * Math.min(loss.smoothed.empty, loss.smoothed.queued));
    expect(loss.ours).toBeLessThan(0.9 * Math.min(loss.shown.empty, loss.shown.queued));
  });
});

describe.skipIf(!hasData)(`on recorded uplinks${skipped}`, () => {
  const traceOf = (name: string) => readMahimahi(name, readFileSync(join(data, name), "utf8"));
  // Published figures of the headroom: mean in milliseconds for all local, all remote, smoothed rate, oracle.
  it.each([
    ["Verizon-LTE-short.up", 20_000, [400, 126, 127, 115]],
    ["Verizon-LTE-short.up", 150_000, [400, 398, 348, 292]],
    ["TMobile-UMTS-driving.up", 20_000, [400, 541, 324, 257]],
  ] as const)("%s with %d bytes has the published headroom", (name, requestBytes, published) => {
    const setting: ReplaySetting = {
      trace: traceOf(name),
      requestBytes,
      localMs: 400,
      serverMs: 15,
      roundTripMs: 50,
      arrivals: 500,
      link: "alone",
      device: "parallel",
    };
    const policies = [allLocal(), allRemote(), smoothedRate(), oracle()];
    policies.forEach((policy, index) => {
      const ratio = replay(setting, policy).meanMs / (published[index] ?? NaN);
      expect(ratio, policy.name).toBeGreaterThan(0.97);
      expect(ratio, policy.name).toBeLessThan(1.03);
    });
  });
});
