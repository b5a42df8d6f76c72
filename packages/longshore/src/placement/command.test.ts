import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type CutProfile, type Profile } from "@longshore/core";
import { graphBuilder, writeModel } from "@longshore/graph";
import { sampleRepository } from "@longshore/samples";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { command } from "../../test/command.ts";
import { placementText, type PlacementReport } from "./print-placement.ts";

const guide = join(dirname(fileURLToPath(import.meta.url)), "../../../../docs/guides/bring-your-model.md");
let folder: string;
let model: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-placement-"));
  await writeFile(join(folder, "x.json"), JSON.stringify([Array.from({ length: 1000 }, () => 1)]));
  model = await profiled(folder);
});
afterAll(() => rm(folder, { recursive: true }));

/** Times of the three nodes where the profile was made, and bytes of what crosses before, between and after them. */
const nodeMs = [30, 10, 60];
const crossingBytes = [4000, 40, 40, 2000];
const weightBytes = [40_000, 0, 20_000];
const spread = Array.from({ length: 16 }, (_none, at) => 0.625 + at * 0.05);

/** `y = relu(x w) v` in a repository, with a profile of times that are known. */
async function profiled(root: string): Promise<string> {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [1, 1000]);
  const w = build.weights("w", "FP32", [1000, 10], new Float32Array(10_000).fill(0.01));
  const v = build.weights("v", "FP32", [10, 500], new Float32Array(5000).fill(0.1));
  const squeezed = build.node("MatMul", [x, w], { outputs: ["squeezed"], name: "squeeze" });
  const positive = build.node("Relu", [squeezed], { outputs: ["positive"], name: "cut off" });
  build.output(build.node("MatMul", [positive, v], { outputs: ["y"], name: "grow" }), "FP32", [1, 500]);
  const version = join(root, "repository", "tiny", "1");
  await mkdir(version, { recursive: true });
  await writeFile(join(version, "model.onnx"), writeModel(build.model({ name: "tiny" })));
  const at = join(root, "repository", "tiny");
  const measured = await command("profile", at, "--write", "--runs", "1");
  expect(measured.code, measured.said).toBe(0);
  const file = join(version, "profile.json");
  const profile = JSON.parse(await readFile(file, "utf8")) as Profile;
  const bucket = profile.variants[0]!.buckets[0]!;
  const end = bucket.cuts.find(({ cut }) => cut.id === "end")!;
  const cutAfter = (count: number): CutProfile => {
    const sum = (list: readonly number[]): number => list.reduce((total, one) => total + one, 0);
    const times = (ms: number): number[] => spread.map((factor) => ms * factor);
    const name = ["x", "squeezed", "positive", "y"][count]!;
    return {
      ...end,
      cut: {
        id: ["start", "c1", "c2", "end"][count]!,
        crossing: [{ name, datatype: "FP32", shape: [1, crossingBytes[count]! / 4] }],
        reveals: (["input", "features", "features", "answer"] as const)[count]!,
      },
      headMs: times(sum(nodeMs.slice(0, count))),
      tailMs: times(sum(nodeMs.slice(count))),
    };
  };
  const cuts = [0, 1, 2, 3].map(cutAfter);
  const known = { ...profile, variants: [{ ...profile.variants[0]!, buckets: [{ ...bucket, cuts }] }] };
  await writeFile(file, JSON.stringify(known));
  return at;
}

interface Report {
  readonly value: number;
  readonly exact: boolean;
  readonly bound: number;
  readonly stages: readonly { readonly endpoint: string; readonly nodes: number; readonly ms: number }[];
  readonly passages: readonly {
    readonly cut: string | null;
    readonly tensors: readonly { readonly name: string; readonly bytes: number }[];
    readonly bytes: number;
  }[];
  readonly deviceMillijoules: number;
  readonly deviceBytes: number;
  readonly p95Ms: number;
  readonly wholes: readonly {
    readonly endpoint: string;
    readonly value: number;
    readonly breaks: readonly string[];
  }[];
}

/** With an input, so that nothing has to be run to find one. */
function plan(...args: readonly string[]): ReturnType<typeof command> {
  return command("split", model, "--input", `x=${join(folder, "x.json")}`, ...args);
}

async function best(...args: readonly string[]): Promise<Report> {
  const { code, out, said } = await plan("--json", ...args);
  expect(code, said).toBe(0);
  return JSON.parse(out) as Report;
}

const two = [
  "--device",
  "speed=0.25,watts=3",
  "--endpoint",
  "edge,speed=2,rtt=10,overhead=2,up=2mbit,microsPerSecond=100,microsPerMegabyte=7",
];
const three = [
  ...two,
  "--endpoint",
  "cloud,tier=cloud,speed=20,rtt=8,overhead=1,up=1mbit,microsPerSecond=500,microsPerMegabyte=3",
];

/** The value of the three nodes at some tiers for each goal, computed independently. */
function worth(tiers: readonly number[], reach: number): Readonly<Record<string, number>> {
  const speeds = [0.25, 2, 20];
  const rates = [2e6, 1e6];
  const fixedMs = [12, 9].map((ms, hop) => ms + (2000 * 8000) / (4 * rates[hop]!));
  const wifi = { up: 283.17 * 8e-6, down: 137.01 * 8e-6, onAir: 0.133, waiting: 0.119 };
  const stages = [0, 0, 0, 0, 0];
  let [fixed, cost] = [0, 0];
  for (const [node, tier] of tiers.entries()) {
    const ms = nodeMs[node]! / speeds[tier]!;
    stages[2 * tier]! += ms;
    cost += (ms * [0, 100, 500][tier]!) / 1000;
  }
  let bytesUp = 0;
  for (let hop = 0; hop < reach; hop++) {
    const before = tiers.filter((tier) => tier <= hop).length;
    const bytes = crossingBytes[before]!;
    stages[2 * hop + 1]! += (bytes * 8000) / rates[hop]!;
    fixed += fixedMs[hop]!;
    cost += (bytes * [7, 3][hop]!) / 1e6;
    if (hop === 0) bytesUp = bytes;
  }
  const runMs = stages[0]! + stages[2]! + stages[4]!;
  const rest = stages[1]! + stages[3]! + fixed;
  const away = reach === 0 ? 0 : 1;
  const energy =
    3 * stages[0]! +
    wifi.onAir * (stages[1]! + away * fixedMs[0]!) +
    wifi.waiting * (stages[2]! + stages[3]! + stages[4]! + (fixed - away * fixedMs[0]!)) +
    wifi.up * bytesUp +
    away * wifi.down * 2000;
  const outcomes = spread.map((factor) => factor * runMs + rest);
  return {
    mean: runMs + rest,
    p95: outcomes[14]! + (outcomes[15]! - outcomes[14]!) * 0.7,
    energy,
    cost,
    "mean=1,energy=0.2": runMs + rest + 0.2 * energy,
    throughput: Math.max(...stages),
    chance: outcomes.filter((ms) => ms > 70).length / 16,
    memory: tiers.reduce((sum, tier, node) => sum + (tier === 0 ? weightBytes[node]! : 0), 0),
  };
}

/** The least of a goal over all placements that are allowed. */
function least(
  goal: string,
  count: number,
  allowed: (of: ReturnType<typeof worth>, tiers: readonly number[]) => boolean = () => true,
): number {
  let found = Infinity;
  for (let code = 0; code < count ** 3; code++) {
    const tiers = [code % count, Math.floor(code / count) % count, Math.floor(code / count ** 2)];
    if (tiers[0]! > tiers[1]! || tiers[1]! > tiers[2]!) continue;
    for (let reach = tiers[2]!; reach < count; reach++) {
      const of = worth(tiers, reach);
      if (allowed(of, tiers)) found = Math.min(found, of[goal]!);
    }
  }
  return found;
}

describe("longshore split --goal", () => {
  const goals = ["mean", "p95", "energy", "cost", "throughput", "chance", "mean=1,energy=0.2"];
  it.each(goals)("agrees with trying every placement, on two and three tiers: %s", async (goal) => {
    for (const [count, endpoints] of [
      [2, two],
      [3, three],
    ] as const) {
      const report = await best(
        ...endpoints,
        "--goal",
        goal,
        ...(goal === "chance" ? ["--deadline", "70"] : []),
      );
      expect(report.value).toBeCloseTo(least(goal, count), 6);
      expect(report.exact).toBe(true);
      expect(report.bound).toBe(report.value);
      for (const [tier, whole] of report.wholes.entries()) {
        expect(whole.endpoint).toBe(["device", "edge", "cloud"][tier]);
        expect(whole.value).toBeCloseTo(worth([tier, tier, tier], tier)[goal]!, 6);
        expect(whole.breaks).toEqual([]);
      }
    }
  });

  it("keeps limits of time, energy, money and memory, several at once", async () => {
    const report = await best(
      ...three,
      "--goal",
      "cost",
      "--deadline",
      "200",
      "--in-time",
      "0.95",
      "--max-energy-mj",
      "420",
      "--device-memory",
      "50000",
    );
    const expected = least(
      "cost",
      3,
      ({ p95, energy, memory }) => p95! <= 200 && energy! <= 420 && memory! <= 50_000,
    );
    expect(report.value).toBeCloseTo(expected, 6);
    expect(expected).toBeGreaterThan(least("cost", 3));
    expect(report.p95Ms).toBeLessThanOrEqual(200);
    expect(report.deviceBytes).toBeLessThanOrEqual(50_000);
    expect(report.wholes[0]?.breaks).toEqual(["deadline", "max-energy-mj", "device-memory"]);
    const cheap = await best(...three, "--goal", "mean", "--max-cost-micros", "3.2");
    expect(cheap.value).toBeCloseTo(
      least("mean", 3, ({ cost }) => cost! <= 3.2),
      6,
    );
  });

  it("names the crossing, with a cut that can be written", async () => {
    const report = await best(...two, "--goal", "mean", "--keep", "x");
    expect(report.value).toBeCloseTo(
      least("mean", 2, (_of, [first]) => first === 0),
      6,
    );
    expect(report.passages).toMatchObject([
      { cut: "c1", tensors: [{ name: "squeezed", bytes: 40 }], bytes: 40 },
    ]);
    expect(report.stages).toMatchObject([
      { endpoint: "device", nodes: 1, ms: 120 },
      { endpoint: "edge", nodes: 2, ms: 35 },
    ]);
    expect(report.wholes[1]?.breaks).toEqual(["keep"]);
    const written = await command("split", model, "--cut", "c1", "--out", join(folder, "parts"));
    expect(written.code, written.said).toBe(0);
    const text = await command("split", model, ...two, "--goal", "mean", "--keep", "x");
    expect(text.out).toContain("proved the best");
    expect(text.out).toMatch(/> edge +c1: squeezed +40 B/);
    expect(text.out).toMatch(/edge +\S+ ms +does not keep --keep/);
  });

  it("keeps tensors with their makers, and nodes, at the device or within an endpoint", async () => {
    const at = async (...keep: readonly string[]): Promise<readonly number[]> =>
      (await best(...three, "--goal", "mean", ...keep.flatMap((name) => ["--keep", name]))).stages.map(
        ({ nodes }) => nodes,
      );
    expect(await at()).toEqual([0, 1, 2]);
    expect((await at("positive"))[0]).toBe(3);
    expect((await at("cut off"))[0]).toBe(2);
    expect(await at("cut off=edge")).toEqual([0, 2, 1]);
    expect(await at("cut off=cloud")).toEqual([0, 1, 2]);
    expect(await at("y")).toEqual([3]);
  });

  it("says which limit nothing keeps, or which not together", async () => {
    const late = async (...words: readonly string[]): Promise<string> => {
      const said = await plan(...two, "--deadline", "20", "--max-energy-mj", "1000", ...words);
      expect(said.code).toBe(1);
      return (
        /no placement keeps --deadline 20 \(the least is \d+ ms, (.*)\)$/m.exec(said.notes)?.[1] ?? said.notes
      );
    };
    expect(await late("--goal", "mean")).toBe("in the mean");
    expect(await late("--goal", "mean=1,p99=2")).toBe("in the mean");
    expect(await late("--goal", "p80")).toBe("in 80 of 100 cases");
    expect(await late("--goal", "mean", "--in-time", "0.999")).toBe("in 99.9 of 100 cases");
    const together = await plan(
      ...two,
      "--goal",
      "mean",
      "--keep",
      "x",
      "--deadline",
      "235",
      "--max-cost-micros",
      "1",
    );
    expect(together.code).toBe(1);
    expect(together.notes).toMatch(/each limit can be kept, .* --deadline and --max-cost-micros together/);
    expect(together.notes).toMatch(/--max-cost-micros 1 \(the least is 3\.\d+ micros\)/);
    const memory = await plan(
      ...two,
      "--goal",
      "mean",
      "--keep",
      "positive",
      "--device-memory",
      "100",
      "--json",
    );
    expect(memory.code).toBe(1);
    expect(JSON.parse(memory.out)).toMatchObject({
      error: {
        reason: "no-endpoint",
        message: expect.stringContaining("--device-memory 100 (the least is 60 kB)") as string,
      },
    });
  });

  it("takes a recorded uplink: slow instants count in quantiles and chances", async () => {
    const trace = join(folder, "tunnel.txt");
    await writeFile(trace, "0 6\n30 2\n40 0\n43 6\n60 6\n");
    const endpoint = ["--device", "speed=0.01", "--endpoint", `edge,speed=2,rtt=10,up=${trace}`];
    const mean = await best(...endpoint, "--goal", "mean");
    const late = await best(...endpoint, "--goal", "p99");
    expect(late.value).toBeGreaterThan(mean.value + 1000);
    const chance = await best(...endpoint, "--goal", "chance", "--deadline", "200");
    expect(chance.value).toBe(1 / 16);
  });

  it.each<[string, string]>([
    ["--goal speed", "'speed' is none of mean, p1 to p99, energy, cost and carbon"],
    ["--goal mean=1,chance=2", "chance is no sum and stands alone"],
    ["--goal mean=0", "the weight of mean must be a number above 0"],
    ["--goal mean=", "the weight of mean must be a number above 0"],
    ["--goal p100", "'p100' is none of"],
    ["--goal chance", "--deadline"],
    ["--goal mean --in-time 0.9", "--in-time needs a deadline: --deadline"],
    ["--goal mean --deadline 9 --in-time 95", "--in-time 95: must be a number above 0, and at most 1"],
    [
      "--goal mean --keep z",
      "--keep z: the graph has no tensor or node of that name (weights and constants are the same for every request and not meant); its inputs are x, names like it squeezed",
    ],
    ["--goal mean --keep x=mars", "--keep x=mars: the graph has no tensor"],
    ["--goal mean --endpoint edge,speed=0", "speed must be a number from 0.001 to 1000"],
    ["--goal mean --endpoint edge,queue=3", "queue is for 'simulate'"],
    ["--goal mean --endpoint edge,up=soon", "neither a rate nor a file"],
    ["--goal mean --endpoint a --endpoint b --endpoint c", "at most 2 are planned for"],
    ["--goal mean --profile there-is-none.json", "cannot be read"],
    ["--goal mean --max-energy-mj much", "--max-energy-mj wants a number"],
    ["--goal mean --verify", "--verify is for a cut that is named"],
    ["--device-memory 100", "--device-memory: name an objective"],
  ])("refuses %s", async (args, message) => {
    const { code, notes } = await command("split", model, ...args.split(" "));
    expect(code, notes).toBe(2);
    expect(notes).toContain(message);
  });

  it("refuses a profile of another content, and pipelines", async () => {
    const samples = sampleRepository();
    const other = join(samples, "anomaly", "1", "profile.json");
    const { code, notes } = await command("split", model, "--goal", "mean", "--profile", other);
    expect(code).toBe(2);
    expect(notes).toContain("with another content than this tiny");
    const pipeline = await command("split", "ocr", "--goal", "mean");
    expect(pipeline.notes).toContain("a pipeline?");
  });

  it("takes a profile that is named, and says when it is of other sizes", async () => {
    const known = JSON.parse(await readFile(join(model, "1", "profile.json"), "utf8")) as Profile;
    const [variant] = known.variants;
    const buckets = variant!.buckets.map((bucket) => ({ ...bucket, typical: { bytes: 400 } }));
    const file = join(folder, "other.json");
    await writeFile(file, JSON.stringify({ ...known, variants: [{ ...variant!, buckets }] }));
    const { code, notes } = await plan(...two, "--goal", "mean", "--profile", file);
    expect(code).toBe(0);
    expect(notes).toContain("times are those of inputs of 400 B, bytes are planned for inputs of 4.0 kB");
    expect((await plan(...two, "--goal", "mean")).notes).toBe("");
  });

  it("says by how much something may be better where that is not proved", async () => {
    const { out } = await plan(...two, "--goal", "throughput", "--json");
    const report = JSON.parse(out) as PlacementReport;
    const open = { ...report, value: 20, exact: false, bound: 16, gapRatio: 0.2 };
    expect(placementText(open)).toMatch(
      /goal throughput: 50\.0 a second, not proved: nothing is better than 62\.5 a second \(gap 20\.00 %\)$/m,
    );
  });

  it("runs the command of the guide", async () => {
    const text = await readFile(guide, "utf8");
    const [, words = ""] = /^longshore (split \S+ --goal [^`]*)```/m.exec(text) ?? [];
    const { code, said } = await command(...words.replaceAll("\\\n", " ").trim().split(/\s+/));
    expect(code, said).toBe(0);
    expect(said).toMatch(/^anomaly\/1\/model\.onnx, goal p95: .* proved the best/);
    expect(said).toMatch(/edge .* does not keep --keep/);
  });

  it("plans a sample with its profile, and the same file without one, measured now", async () => {
    const endpoints = ["--device", "speed=0.02", "--endpoint", "edge,rtt=4,up=20mbit", "--goal", "mean"];
    const known = await command("split", "anomaly", ...endpoints, "--json");
    expect(known.code, known.said).toBe(0);
    const report = JSON.parse(known.out) as Report;
    expect(report.exact).toBe(true);
    expect(known.notes).not.toContain("measuring");
    for (const { value } of report.wholes) expect(value).toBeGreaterThanOrEqual(report.value);
    const bare = join(folder, "bare.onnx");
    await copyFile(join(sampleRepository(), "anomaly", "1", "model.onnx"), bare);
    const measured = await command("split", bare, ...endpoints, "--json");
    expect(measured.code, measured.said).toBe(0);
    expect(measured.notes).toContain("measuring bare here");
    expect((JSON.parse(measured.out) as Report).exact).toBe(true);
  }, 120_000);
});
